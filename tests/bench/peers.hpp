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

/// Made by `openssl`, for servers on this machine: ECDSA with P-256.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
  std::string nbdkit_folder;  ///< the same by the names that nbdkit wants
};

/// The command that serves `image` over one transport; over a Unix socket it is `base` with `.sock`. `name` is that of
/// a program: one of the NBD servers, or redis-server, which ignores the image.
Launch launch_of(const std::string& name, Transport transport, const std::string& image, const std::string& base);
/// The same over TLS: of nbdkit and redis-server.
Launch tls_launch_of(const std::string& name, const TlsFiles& files, const std::string& image, const std::string& base);

}  // namespace pageserver::bench
