#include "base/loopback.hpp"

#include <sys/socket.h>

#include <cstring>

namespace pageserver::base {

bool is_loopback(const in_addr& address) noexcept { return (ntohl(address.s_addr) >> 24) == IN_LOOPBACKNET; }

bool is_loopback(const in6_addr& address) noexcept {
  if (IN6_IS_ADDR_V4MAPPED(&address)) return address.s6_addr[12] == IN_LOOPBACKNET;
  return IN6_IS_ADDR_LOOPBACK(&address) != 0;
}

bool stays_on_this_machine(int socket) noexcept {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return false;
  if (address.ss_family == AF_UNIX) return true;
  if (address.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return is_loopback(v4.sin_addr);
  }
  if (address.ss_family != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  return is_loopback(v6.sin6_addr);
}

}  // namespace pageserver::base
