#include "tests/support/catch.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>

#include <pageserver/error.hpp>

#include "client/wire/dial.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace std::chrono_literals;

namespace {

/// A listener that accepts nothing by itself.
struct Listener {
  explicit Listener(int family, int backlog = 8) : fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    if (fd.get() < 0) return;
    sockaddr_storage address{};
    socklen_t length = sizeof(sockaddr_in);
    address.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET6) {
      reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr = in6addr_loopback;
      length = sizeof(sockaddr_in6);
    } else {
      reinterpret_cast<sockaddr_in*>(&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    ok = ::bind(fd.get(), generic, length) == 0 && ::listen(fd.get(), backlog) == 0 &&
         ::getsockname(fd.get(), generic, &length) == 0;
    port = ntohs(family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                    : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  }

  UniqueFd fd;
  bool ok = false;
  std::uint16_t port = 0;
};

struct UnixListener {
  explicit UnixListener(int backlog) : fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    char name[] = "/tmp/pageserver-dial-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/s";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    ok = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
         ::listen(fd.get(), backlog) == 0;
  }
  ~UnixListener() { std::filesystem::remove_all(directory); }

  UniqueFd fd;
  std::string directory;
  std::string path;
  bool ok = false;
};

MemoryError refusal(const Endpoint& endpoint, std::chrono::milliseconds limit = 20s) {
  try {
    (void)dial(endpoint, std::chrono::steady_clock::now() + limit);
  } catch (const MemoryError& error) {
    return error;
  }
  throw std::runtime_error("connected");
}

bool has(const MemoryError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos;
}

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  REQUIRE(::getsockopt(fd, level, name, &value, &length) == 0);
  return value;
}

}  // namespace

TEST_CASE("a TCP socket comes without delay, kept alive, non-blocking and closed on exec") {
  const Listener listener{AF_INET};
  REQUIRE(listener.ok);
  const auto fd = dial({"127.0.0.1", listener.port, ""}, std::chrono::steady_clock::now() + 20s);
  CHECK(option(fd.get(), IPPROTO_TCP, TCP_NODELAY) != 0);
  CHECK(option(fd.get(), SOL_SOCKET, SO_KEEPALIVE) != 0);
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(fd.get(), F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE("an IPv6 address and a name are dialled") {
  const Listener six{AF_INET6};
  if (six.ok) CHECK(dial({"::1", six.port, ""}, std::chrono::steady_clock::now() + 20s).get() >= 0);
  // Where localhost is ::1 first, nobody listens there: the next address is tried.
  const Listener four{AF_INET};
  REQUIRE(four.ok);
  CHECK(dial({"localhost", four.port, ""}, std::chrono::steady_clock::now() + 20s).get() >= 0);
}

TEST_CASE("nobody listens: connection_lost, naming the address and the remedy") {
  std::uint16_t port = 0;
  {
    const Listener listener{AF_INET};
    port = listener.port;
  }
  const auto error = refusal({"127.0.0.1", port, ""});
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "pageserver://127.0.0.1:" + std::to_string(port) + ": connect: tried 127.0.0.1:"));
  CHECK(has(error, "(Connection refused); is pageserverd running there?"));
}

TEST_CASE("a name that is not there is connection_lost") {
  const auto error = refusal({"no-such-host.invalid", 6553, ""}, 5s);
  CHECK((error.code() == Errc::connection_lost || error.code() == Errc::timed_out));
  CHECK(has(error, "the name no-such-host.invalid could not be resolved"));
}

TEST_CASE("a host that does not answer is timed_out") {
  // A full backlog: the kernel drops further handshakes, as a firewall does.
  const Listener listener{AF_INET, 0};
  REQUIRE(listener.ok);
  std::vector<UniqueFd> fillers;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(listener.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    (void)::connect(fillers.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto error = refusal({"127.0.0.1", listener.port, ""}, 150ms);
  CHECK(error.code() == Errc::timed_out);
  CHECK(has(error, "no answer from 127.0.0.1:"));
  CHECK(std::chrono::steady_clock::now() - begin >= 100ms);
}

TEST_CASE("a Unix socket is dialled by its path") {
  const UnixListener listener{8};
  REQUIRE(listener.ok);
  const auto fd = dial({"", 0, listener.path}, std::chrono::steady_clock::now() + 20s);
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a Unix socket that is not there, not ours, not served or over-long says so") {
  auto error = refusal({"", 0, "/nonexistent/s"});
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "pageserver+unix:///?socket=/nonexistent/s: connect: No such file or directory"));

  UnixListener listener{8};
  REQUIRE(listener.ok);
  if (::geteuid() != 0) {
    REQUIRE(::chmod(listener.path.c_str(), 0) == 0);
    error = refusal({"", 0, listener.path});
    CHECK(error.code() == Errc::permission_denied);
  }
  listener.fd.reset();
  error = refusal({"", 0, listener.path});
  CHECK((error.code() == Errc::connection_lost || error.code() == Errc::permission_denied));

  error = refusal({"", 0, "/" + std::string(107, 's')});
  CHECK(error.code() == Errc::invalid_argument);
  CHECK(has(error, "at most 107"));
}

TEST_CASE("a Unix socket with a full backlog is tried until time is up") {
  const UnixListener listener{0};
  REQUIRE(listener.ok);
  const auto first = dial({"", 0, listener.path}, std::chrono::steady_clock::now() + 20s);
  const auto error = refusal({"", 0, listener.path}, 60ms);
  CHECK(error.code() == Errc::timed_out);
}
