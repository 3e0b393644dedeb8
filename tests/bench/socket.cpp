#include "tests/bench/socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace pageserver::bench {
namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int connect_to(const Address& address, Transport transport) {
  const int fd = ::socket(transport == Transport::tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  int status = 0;
  if (transport == Transport::tcp) {
    const sockaddr_in name = loopback(address.port);
    status = ::connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  } else {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (address.socket_path.size() >= sizeof name.sun_path)
      throw std::runtime_error("socket path too long: " + address.socket_path);
    std::memcpy(name.sun_path, address.socket_path.c_str(), address.socket_path.size() + 1);
    status = ::connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name);
  }
  if (status == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

}  // namespace

Socket::Socket(const Address& address, Transport transport) : fd_(connect_to(address, transport)) {
  if (fd_ < 0) fail("connect");
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

void Socket::send_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("send");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void Socket::send_all(std::span<iovec> parts) {
  while (!parts.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
    const ssize_t put = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("sendmsg");
    auto left = static_cast<std::size_t>(put);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (left == 0) continue;
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + left;
    parts.front().iov_len -= left;
  }
}

std::size_t Socket::receive_some(std::span<std::byte> into) {
  for (;;) {
    const ssize_t got = ::recv(fd_, into.data(), into.size(), 0);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) throw std::runtime_error("the server closed the connection");
    if (errno != EINTR) fail("recv");
  }
}

void Socket::receive_all(std::span<std::byte> into) {
  while (!into.empty()) into = into.subspan(receive_some(into));
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name = loopback(0);
  socklen_t length = sizeof name;
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    fail("finding a free port");
  }
  ::close(fd);
  return ntohs(name.sin_port);
}

bool accepts(const Address& address, Transport transport) {
  const int fd = connect_to(address, transport);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

}  // namespace pageserver::bench
