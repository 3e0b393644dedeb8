// Who is at the other end of a socket, as the kernel says it.
#pragma once

#include <cstdint>

namespace pageserver::server {

/// Process and user at the other end of a Unix socket, of the time when it connected.
struct PeerProcess {
  bool known = false;
  std::uint32_t uid = 0;
  std::uint32_t pid = 0;
};
PeerProcess peer_process(int socket) noexcept;

bool is_unix_socket(int socket) noexcept;

}  // namespace pageserver::server
