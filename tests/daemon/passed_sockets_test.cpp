// Sockets that a service manager passes: the test is the manager. It makes them, and the daemon gets them from 3 on.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "base/unique_fd.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

UniqueFd tcp_socket(std::uint16_t& port, bool listening = true, int type = SOCK_STREAM) {
  UniqueFd socket(::socket(AF_INET, type, 0));  // neither close-on-exec nor non-blocking, as managers pass them
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
  if (listening) REQUIRE(::listen(socket.get(), 16) == 0);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.sin_port);
  return socket;
}

/// Takes in IPv4 and IPv6.
UniqueFd dual_socket(std::uint16_t& port) {
  UniqueFd socket(::socket(AF_INET6, SOCK_STREAM, 0));
  const int off = 0;
  ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_any;
  socklen_t length = sizeof address;
  if (!socket.is_open() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return {};
  REQUIRE(::listen(socket.get(), 16) == 0);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.sin6_port);
  return socket;
}

UniqueFd unix_socket(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(socket.get(), 16) == 0);
  return socket;
}

/// What the manager says beside the descriptors.
struct Said {
  std::optional<std::string> names = {};
  std::optional<std::string> count = {};    ///< else as many as there are
  std::optional<std::string> process = {};  ///< else the daemon's own
};

/// The daemon as its child: descriptors from 3 on, the variables, and its standard error in a file.
class Managed {
public:
  Managed(std::vector<int> passed, const Said& said, const std::vector<std::string>& flags) {
    std::vector<std::string> argv{pageserverd_path()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    std::vector<char*> arguments;
    for (std::string& text : argv) arguments.push_back(text.data());
    arguments.push_back(nullptr);
    const UniqueFd log(::open(log_path().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(log.get(), 2);
      // First out of the way of the numbers that they get.
      for (int& one : passed) one = ::fcntl(one, F_DUPFD, 100);
      for (std::size_t i = 0; i < passed.size(); ++i) ::dup2(passed[i], 3 + static_cast<int>(i));
      ::close_range(3 + static_cast<unsigned>(passed.size()), ~0U, 0);
      ::setenv("LISTEN_FDS", said.count.value_or(std::to_string(passed.size())).c_str(), 1);
      ::setenv("LISTEN_PID", said.process.value_or(std::to_string(::getpid())).c_str(), 1);
      if (said.names) ::setenv("LISTEN_FDNAMES", said.names->c_str(), 1);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
  }
  Managed(const Managed&) = delete;
  Managed& operator=(const Managed&) = delete;
  ~Managed() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_path()).rdbuf();
    return text.str();
  }
  /// Once it serves.
  void wait_for(std::string_view text) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (log().find(text) == std::string::npos) {
      siginfo_t ended{};
      const bool gone =
          ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == pid_;
      if (gone && log().find(text) == std::string::npos) FAIL("the daemon ended: " << log());
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::yield();
    }
  }
  int stop() {
    ::kill(pid_, SIGTERM);
    return wait();
  }
  int wait() {
    int raw = 0;
    ::waitpid(pid_, &raw, 0);
    pid_ = -1;
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  }

private:
  std::string log_path() const { return dir_.file("log"); }

  TempDir dir_;
  pid_t pid_ = -1;
};

/// What it says on its way out: it must not start.
std::string refusal(std::vector<int> passed, const Said& said, std::vector<std::string> flags = {}) {
  TempDir dir;
  flags.insert(flags.begin(), {"--store", "demo=" + dir.file("demo.img")});
  Managed daemon(std::move(passed), said, flags);
  CHECK(daemon.wait() == 1);
  CHECK_FALSE(std::filesystem::exists(dir.file("demo.img")));
  return daemon.log();
}

bool has(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

bool serves(RawClient client) {
  client.hello();
  client.open("demo");
  return client.call(proto::SizeRequest{}).status() == proto::Status::ok;
}

}  // namespace

TEST_CASE("passed: each name is a kind of listener, and there is no other") {
  TempDir dir;
  std::uint16_t tcp_port = 0, metrics_port_number = 0;
  const UniqueFd tcp = tcp_socket(tcp_port);
  const UniqueFd local = unix_socket(dir.file("s.sock"));
  const UniqueFd metrics = tcp_socket(metrics_port_number);
  Managed daemon({tcp.get(), local.get(), metrics.get()}, {.names = "tcp:unix:metrics"},
                 {"--store", "demo=" + dir.file("demo.img"), "--port-file", dir.file("port")});
  daemon.wait_for(" INFO start ");
  CHECK(serves(RawClient::tcp(tcp_port)));
  CHECK(serves(RawClient::local(dir.file("s.sock"))));
  CHECK(http_get(RawClient::tcp(metrics_port_number), "/readyz").code == 200);
  has(daemon.log(), "listeners=127.0.0.1:" + std::to_string(tcp_port) + ",unix:" + dir.file("s.sock") + "\n");
  std::string line;
  std::getline(std::ifstream(dir.file("port")) >> std::ws, line);
  CHECK(line == "127.0.0.1:" + std::to_string(tcp_port));

  // What programs that it starts would get, and what blocks.
  const std::string process = "/proc/" + std::to_string(daemon.pid());
  for (const int descriptor : {3, 4, 5}) {
    std::ostringstream info;
    info << std::ifstream(process + "/fdinfo/" + std::to_string(descriptor)).rdbuf();
    const std::size_t at = info.str().find("flags:\t");
    REQUIRE(at != std::string::npos);
    const unsigned long flags = std::stoul(info.str().substr(at + 7), nullptr, 8);
    CHECK((flags & O_CLOEXEC) != 0);
    CHECK((flags & O_NONBLOCK) != 0);
  }
  CHECK(daemon.stop() == 0);
  // The manager's, for the next one.
  CHECK(std::filesystem::exists(dir.file("s.sock")));
}

TEST_CASE("passed: who connects before the daemon runs, or between two of them, is served by the next") {
  TempDir dir;
  const UniqueFd local = unix_socket(dir.file("s.sock"));
  for (int i = 0; i < 2; ++i) {
    RawClient early = RawClient::local(dir.file("s.sock"));
    Managed daemon({local.get()}, {}, {"--store", "demo=" + dir.file("demo.img")});
    CHECK(serves(std::move(early)));
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("passed: without names, and with those that systemd gives by itself, the family decides") {
  TempDir dir;
  std::uint16_t port = 0;
  const UniqueFd tcp = tcp_socket(port);
  const UniqueFd local = unix_socket(dir.file("s.sock"));
  for (const std::optional<std::string>& names :
       {std::optional<std::string>{}, std::optional<std::string>{"pageserver.socket:unknown"}}) {
    Managed daemon({tcp.get(), local.get()}, {.names = names}, {"--store", "demo=" + dir.file("demo.img")});
    daemon.wait_for(" INFO start ");
    CHECK(serves(RawClient::tcp(port)));
    CHECK(serves(RawClient::local(dir.file("s.sock"))));
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("passed: on a socket for both versions of IP a client of IPv4 is who it is") {
  TempDir dir;
  std::uint16_t port = 0;
  const UniqueFd dual = dual_socket(port);
  if (!dual.is_open()) return skip("there is no IPv6 here");
  Managed daemon({dual.get()}, {.names = "tcp"},
                 {"--store", "demo=" + dir.file("demo.img"), "--insecure", "--log-level", "debug"});
  daemon.wait_for(" INFO start ");
  RawClient client = RawClient::tcp(port);
  client.hello();
  const Frame answer = client.call(proto::SessionsRequest{});
  std::vector<std::string> addresses;
  for (const proto::SessionEntry& entry : answer.as<proto::SessionsAnswer>().entries)
    addresses.emplace_back(entry.address);
  REQUIRE(addresses.size() == 1);
  CHECK(addresses.front().starts_with("127.0.0.1:"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("passed: what is meant for another process is left alone") {
  TempDir dir;
  std::uint16_t port = 0;
  const UniqueFd tcp = tcp_socket(port);
  Managed daemon({tcp.get()}, {.names = "nonsense", .process = "1"},
                 {"--store", "demo=" + dir.file("demo.img"), "--unix", dir.file("d.sock")});
  daemon.wait_for(" INFO start ");
  CHECK(serves(RawClient::local(dir.file("d.sock"))));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("passed: the same kind twice, by the manager and by the configuration, names both") {
  TempDir dir;
  std::uint16_t port = 0, other = 0;
  const UniqueFd tcp = tcp_socket(port);
  const UniqueFd local = unix_socket(dir.file("s.sock"));
  const std::string address = "127.0.0.1:" + std::to_string(port);
  has(refusal({tcp.get()}, {.names = "tcp"}, {"--listen", "127.0.0.1:7001"}),
      "LISTEN_FDS: descriptor 3 listens on " + address + " as \"tcp\", and \"listen\" (--listen) names 127.0.0.1:7001");
  has(refusal({tcp.get()}, {.names = "metrics"}, {"--metrics", "7002"}),
      "listens on " + address + " as \"metrics\", and \"metrics\" (--metrics) names 127.0.0.1:7002");
  has(refusal({local.get()}, {.names = "unix"}, {"--unix", dir.file("other.sock")}),
      "listens on unix:" + dir.file("s.sock") + " as \"unix\", and \"unix\" (--unix) names " + dir.file("other.sock"));
  CHECK_FALSE(std::filesystem::exists(dir.file("other.sock")));
  // Another kind, at the same address.
  has(refusal({tcp.get()}, {.names = "metrics"}, {"--listen", address}),
      "\"" + address + "\" (descriptor 3 of LISTEN_FDS) is the same address as \"" + address + "\"");
  const UniqueFd second = tcp_socket(other);
  has(refusal({tcp.get(), second.get()}, {.names = "metrics:metrics"}), "and another descriptor is");
}

TEST_CASE("passed: what is no listening stream socket is refused, with its number and what it is") {
  TempDir dir;
  std::uint16_t port = 0;
  std::ofstream(dir.file("plain")) << "text";
  const UniqueFd file(::open(dir.file("plain").c_str(), O_RDONLY));
  const UniqueFd deaf = tcp_socket(port, false);
  const UniqueFd datagrams = tcp_socket(port, false, SOCK_DGRAM);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const UniqueFd pipe_read(ends[0]), pipe_write(ends[1]);
  const std::string log = refusal({file.get(), deaf.get(), datagrams.get(), pipe_read.get()}, {});
  has(log, "LISTEN_FDS: descriptor 3 is a regular file; a listening stream socket is needed");
  has(log, "LISTEN_FDS: descriptor 4 is a socket that does not listen");
  has(log, "LISTEN_FDS: descriptor 5 is a datagram socket");
  has(log, "LISTEN_FDS: descriptor 6 is a pipe");
  has(refusal({}, {.count = "1"}), "LISTEN_FDS: descriptor 3 is not open");
}

TEST_CASE("passed: names and numbers that fit nothing") {
  TempDir dir;
  std::uint16_t port = 0;
  const UniqueFd tcp = tcp_socket(port);
  const UniqueFd local = unix_socket(dir.file("s.sock"));
  has(refusal({tcp.get()}, {.names = "http"}), "descriptor 3 \"http\" has a name that says nothing here");
  has(refusal({tcp.get()}, {.names = "unix"}), "descriptor 3 \"unix\" is a TCP socket");
  has(refusal({local.get()}, {.names = "tls"}), "descriptor 3 \"tls\" is a Unix socket");
  has(refusal({tcp.get()}, {.names = "tcp:unix"}), "LISTEN_FDNAMES=\"tcp:unix\" has 2 names, and LISTEN_FDS says");
  has(refusal({tcp.get()}, {.count = "many"}), "LISTEN_FDS=\"many\": expected a number of descriptors");
  // TLS needs its certificate, whoever made the socket.
  has(refusal({tcp.get()}, {.names = "tls"}), "tls: there is a listener with TLS, and tls.certificate is missing");
}

TEST_CASE("passed: a session over TLS on a socket of the manager, as on one of the daemon's own") {
  TempDir dir;
  Certificates certificates;
  certificates.make("server", {});
  std::uint16_t port = 0, plain_port = 0;
  const UniqueFd tls = tcp_socket(port);
  const UniqueFd plain = tcp_socket(plain_port);
  Managed daemon({tls.get(), plain.get()}, {.names = "tls:tcp"},
                 {"--store", "demo=" + dir.file("demo.img"), "--tls-certificate", certificates.certificate("server"),
                  "--tls-key", certificates.key("server")});
  daemon.wait_for(" INFO start ");
  const std::string uri =
      "pageservers://localhost:" + std::to_string(port) + "/demo?tls_ca=" + certificates.certificate("ca");
  {
    const auto session = open_session(uri);
    session->grow(2);
    session->write(65530, std::as_bytes(std::span("across the border", 17)));
    session->flush();
    std::vector<std::byte> read(17);
    session->read(65530, read);
    CHECK(std::memcmp(read.data(), "across the border", 17) == 0);
  }
  // It is TLS and nothing else there, and none on the other.
  CHECK_THROWS_AS(open_session("pageserver://127.0.0.1:" + std::to_string(port) + "/demo"), MemoryError);
  CHECK(serves(RawClient::tcp(plain_port)));
  CHECK_THROWS_AS(open_session("pageservers://localhost:" + std::to_string(plain_port) +
                               "/demo?tls_ca=" + certificates.certificate("ca")),
                  MemoryError);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("passed: an address that other machines reach needs rules, whoever made the socket") {
  std::uint16_t port = 0;
  const UniqueFd dual = dual_socket(port);
  if (!dual.is_open()) return skip("there is no IPv6 here");
  has(refusal({dual.get()}, {.names = "tcp"}),
      "\"[::]:" + std::to_string(port) + "\" (descriptor 3 of LISTEN_FDS) can be reached from other machines");
}
