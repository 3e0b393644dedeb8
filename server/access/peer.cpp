#include "server/access/peer.hpp"

#include <sys/socket.h>

namespace pageserver::server {

bool is_unix_socket(int socket) noexcept {
  int domain = 0;
  socklen_t length = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

PeerProcess peer_process(int socket) noexcept {
  if (!is_unix_socket(socket)) return {};
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return {};
  // Another container's process has no number here.
  return {true, peer.uid, peer.pid > 0 ? static_cast<std::uint32_t>(peer.pid) : 0};
}

}  // namespace pageserver::server
