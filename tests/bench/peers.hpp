// How each peer is started.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/target.hpp"

namespace pageserver::bench {

using MakeProtocol = std::function<std::unique_ptr<Protocol>(bool write)>;

struct Launch {
  std::vector<std::string> arguments;
  Address address;
  MakeProtocol protocol;
  std::string pid_file = {};  ///< not empty: the program leaves for the background and writes its pid there
};

/// The NBD servers, by the name of their program.
const std::vector<std::string>& nbd_peer_names();

/// The command that serves `image` over one transport; over a Unix socket it is `base` with `.sock`. `name` is that of
/// a program: one of the NBD servers, or redis-server, which ignores the image.
Launch launch_of(const std::string& name, Transport transport, const std::string& image, const std::string& base);

}  // namespace pageserver::bench
