#include "tests/bench/socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
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

[[noreturn]] void fail_tls(const char* what) {
  const char* const reason = ::ERR_reason_error_string(::ERR_get_error());
  throw std::runtime_error(std::string(what) + ": " + (reason != nullptr ? reason : "the server closed"));
}

/// Of all connections that believe the same file.
SSL_CTX* context_of(const std::string& ca) {
  static std::map<std::string, SSL_CTX*> contexts;
  SSL_CTX*& context = contexts[ca];
  if (context != nullptr) return context;
  context = ::SSL_CTX_new(::TLS_client_method());
  if (context == nullptr || ::SSL_CTX_load_verify_locations(context, ca.c_str(), nullptr) != 1 ||
      ::SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1)
    fail_tls("TLS");
  ::SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  ::SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
  // One call of recv for the head and the body of a record, and for as many more as came.
  ::SSL_CTX_set_read_ahead(context, 1);
  ::SSL_CTX_set_default_read_buffer_len(context, 128u << 10);
  return context;
}

int connect_to(const Address& address, Transport transport) {
  const int fd = ::socket(transport == Transport::unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  int status = 0;
  if (transport != Transport::unix_socket) {
    const sockaddr_in name = loopback(transport == Transport::tls ? address.tls_port : address.port);
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
  ::SSL_free(tls_);
  if (fd_ >= 0) ::close(fd_);
}

void Socket::start_tls(const std::string& ca) {
  tls_ = ::SSL_new(context_of(ca));
  if (tls_ == nullptr || ::SSL_set_fd(tls_, fd_) != 1 || ::SSL_set1_host(tls_, "localhost") != 1 ||
      ::SSL_connect(tls_) != 1)
    fail_tls("TLS handshake");
}

void Socket::send_all(std::span<const std::byte> bytes) {
  if (tls_ != nullptr) {
    if (std::size_t put = 0; !bytes.empty() && ::SSL_write_ex(tls_, bytes.data(), bytes.size(), &put) != 1)
      fail_tls("SSL_write");
    return;
  }
  while (!bytes.empty()) {
    const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("send");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void Socket::send_all(std::span<iovec> parts) {
  if (tls_ != nullptr) {
    for (const iovec& part : parts) send_all({static_cast<const std::byte*>(part.iov_base), part.iov_len});
    return;
  }
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
  if (tls_ != nullptr) {
    std::size_t got = 0;
    if (::SSL_read_ex(tls_, into.data(), into.size(), &got) != 1) fail_tls("SSL_read");
    return got;
  }
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
