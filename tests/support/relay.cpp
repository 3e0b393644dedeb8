#include "tests/support/relay.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace pageserver::test {

std::uint64_t relay(int from, int to, std::uint64_t limit) {
  std::array<char, 65536> buffer;
  const auto got = ::recv(from, buffer.data(), std::min<std::uint64_t>(buffer.size(), limit), 0);
  if (got <= 0) return 0;
  for (ssize_t sent = 0; sent < got;) {
    const auto put = ::send(to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
    if (put <= 0) return 0;
    sent += put;
  }
  return static_cast<std::uint64_t>(got);
}

}  // namespace pageserver::test
