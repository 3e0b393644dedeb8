// The least that a page server can do: recv, pread or pwrite on a file, send. A thread for each connection, nothing
// shared, nothing promised. What remains above it is what our promises and our protocol cost.
//
//     pageserver_least FILE SOCKET_PATH      prints its TCP port, serves until it is killed
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/bench/least.hpp"

namespace pageserver::bench {
namespace {

// Of a request; false at the end of the connection. Keeps what came beyond `wanted` bytes.
bool receive(int socket, std::vector<std::byte>& buffer, std::size_t& have, std::size_t wanted) {
  while (have < wanted) {
    const ssize_t got = ::recv(socket, buffer.data() + have, buffer.size() - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += static_cast<std::size_t>(got);
  }
  return true;
}

bool send_all(int socket, const std::byte* bytes, std::size_t length) {
  while (length > 0) {
    const ssize_t put = ::send(socket, bytes, length, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes += put;
    length -= static_cast<std::size_t>(put);
  }
  return true;
}

void serve(int socket, int file) {
  std::vector<std::byte> in(sizeof(LeastRequest) + least_length_max);
  std::vector<std::byte> out(sizeof(std::uint32_t) + least_length_max);
  std::size_t have = 0;
  while (receive(socket, in, have, sizeof(LeastRequest))) {
    LeastRequest request;
    std::memcpy(&request, in.data(), sizeof request);
    if (request.length > least_length_max) break;
    const std::size_t whole = sizeof request + (request.write != 0 ? request.length : 0);
    if (!receive(socket, in, have, whole)) break;
    const auto offset = static_cast<off_t>(request.offset);
    const ssize_t done = request.write != 0 ? ::pwrite(file, in.data() + sizeof request, request.length, offset)
                                            : ::pread(file, out.data() + sizeof(std::uint32_t), request.length, offset);
    const std::uint32_t error = done == static_cast<ssize_t>(request.length) ? 0 : EIO;
    std::memcpy(out.data(), &error, sizeof error);
    if (!send_all(socket, out.data(), sizeof error + (request.write != 0 ? 0 : request.length))) break;
    have -= whole;
    if (have > 0) std::memmove(in.data(), in.data() + whole, have);
  }
  ::close(socket);
}

void accept_for_ever(int listener, int file) {
  for (;;) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::thread(serve, socket, file).detach();
  }
}

int listen_tcp(std::uint16_t& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof name;
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 || ::listen(fd, 64) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    return -1;
  }
  port = ntohs(name.sin_port);
  return fd;
}

int listen_unix(const char* path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof name.sun_path) return -1;
  std::memcpy(name.sun_path, path, std::strlen(path) + 1);
  ::unlink(path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 || ::listen(fd, 64) != 0)
    return -1;
  return fd;
}

int run(const char* path, const char* socket_path) {
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  std::uint16_t port = 0;
  const int tcp = listen_tcp(port);
  const int local = listen_unix(socket_path);
  if (file < 0 || tcp < 0 || local < 0) {
    std::perror("pageserver_least");
    return 1;
  }
  std::printf("%u\n", port);
  std::fflush(stdout);
  std::thread(accept_for_ever, local, file).detach();
  accept_for_ever(tcp, file);
  return 0;
}

}  // namespace
}  // namespace pageserver::bench

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: pageserver_least FILE SOCKET_PATH\n");
    return 2;
  }
  return pageserver::bench::run(arguments[1], arguments[2]);
}
