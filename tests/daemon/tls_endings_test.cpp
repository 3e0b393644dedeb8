// How connections over TLS end: with close_notify and without, between frames and inside of one, cut at every byte.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include "tests/support/catch.hpp"

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "tests/daemon/helpers.hpp"
#include "tests/daemon/secured.hpp"
#include "tests/daemon/tls_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

proto::HelloRequest plain_hello() {
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = proto::features_all;
  hello.client_name = "test";
  return hello;
}

TlsClient with_session(const Secured& secured) {
  TlsClient client(secured.port_number(), secured.certificates.certificate("ca"), secured.certificates);
  client.call(plain_hello()).as<proto::HelloAnswer>();
  proto::OpenRequest open;
  open.store = "demo";
  open.access = proto::Access::write;
  client.call(open).as<proto::OpenAnswer>();
  return client;
}

/// Listens on loopback and passes connections on to a port, one after the other; closes both sides of one in order,
/// without a word of TLS, once it has passed so many bytes one way.
class Cutter {
public:
  explicit Cutter(std::uint16_t target) : target_{target}, listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0 || ::pipe(stop_) != 0)
      throw std::runtime_error("the cutter can't listen");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread{[this] { run(); }};
  }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;
  ~Cutter() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
    ::close(listener_);
  }

  std::uint16_t port() const { return port_; }
  std::string uri(const Secured& secured) const {
    return "pageservers://localhost:" + std::to_string(port()) +
           "/demo?tls_ca=" + secured.certificates.certificate("ca");
  }
  /// Of the next connection alone; no connection is open now.
  void cut_next_after(std::uint64_t to_daemon, std::uint64_t to_client) {
    while (busy_) std::this_thread::yield();
    to_daemon_ = to_daemon;
    to_client_ = to_client;
  }
  /// To the client, over the connection that is open.
  std::uint64_t so_far() const { return passed_to_client_; }
  /// Of the last connection, once it is over.
  std::uint64_t passed(bool to_client) {
    while (busy_) std::this_thread::yield();
    return to_client ? passed_to_client_ : passed_to_daemon_;
  }

private:
  void run() {
    for (;;) {
      pollfd polled[2]{{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
      ::poll(polled, 2, -1);
      if (polled[0].revents != 0) return;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      busy_ = true;
      RawClient daemon = RawClient::tcp(target_);
      pass(client, daemon.fd());
      ::close(client);
      daemon.close();
      busy_ = false;
    }
  }
  void pass(int client, int daemon) {
    const std::uint64_t limits[2]{to_daemon_.exchange(no_limit), to_client_.exchange(no_limit)};
    std::uint64_t passed[2]{};
    for (;;) {
      pollfd polled[3]{{client, POLLIN, 0}, {daemon, POLLIN, 0}, {stop_[0], POLLIN, 0}};
      ::poll(polled, 3, -1);
      bool over = polled[2].revents != 0;
      for (const int way : {0, 1}) {
        if (over || polled[way].revents == 0) continue;
        char bytes[4096];
        const ssize_t got = ::recv(way == 0 ? client : daemon, bytes,
                                   std::min<std::uint64_t>(sizeof bytes, limits[way] - passed[way]), 0);
        if (got > 0) passed[way] += static_cast<std::uint64_t>(got);
        // Before the other side has them, and asks.
        passed_to_daemon_ = passed[0];
        passed_to_client_ = passed[1];
        over = got <= 0 || passed[way] >= limits[way];
        for (ssize_t sent = 0; sent < got;) {
          const auto put =
              ::send(way == 0 ? daemon : client, bytes + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
          if (put <= 0) return;
          sent += put;
        }
      }
      if (over) return;
    }
  }

  std::uint16_t target_;
  int listener_;
  int stop_[2]{};
  std::uint16_t port_ = 0;
  std::atomic<bool> busy_{false};
  std::atomic<std::uint64_t> to_daemon_{no_limit}, to_client_{no_limit}, passed_to_daemon_{0}, passed_to_client_{0};
  std::thread thread_;
};

}  // namespace

TEST_CASE("without close_notify a client that ends between frames has ended, and inside of one it is said") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server", {"--log-level", "debug"});
  const bool inside = GENERATE(false, true);
  const std::string how = GENERATE("close_notify", "end of stream", "close", "half a record");
  INFO(how << (inside ? " inside a frame" : " between frames"));
  TlsClient client = with_session(secured);
  if (inside) {
    proto::Bytes bytes;
    proto::encode(bytes, 3, proto::ReadRequest{0, 1});
    client.send_bytes(std::span(bytes).first(bytes.size() - 1));
  }
  if (how == "close_notify") client.stream().close();
  if (how == "half a record") {
    constexpr std::array<std::byte, 7> begun{std::byte{0x17}, std::byte{3}, std::byte{3}, std::byte{0}, std::byte{60}};
    client.socket().send_bytes(begun);
  }
  how == "close" ? client.socket().close() : client.socket().end_of_stream();
  secured.daemon->wait_for_log("session close");
  const std::string log = secured.daemon->log();
  const std::string line = log.substr(log.find("session close"));
  const bool is_told = holds(line.substr(0, line.find('\n')), "in the middle of a frame");
  CHECK(is_told == inside);
  // Its lease is free, and nobody is warned: the daemon's log is looked at when it ends.
  CHECK(secured.opening() == "opened");
}

TEST_CASE("without close_notify a daemon that ends inside of a frame is told so, between frames it is a lost one") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  Cutter cutter(secured.port_number());
  const std::string uri = cutter.uri(secured);
  open(secured.uri())->grow(4);
  const auto session = [&] { return open_session(uri + "&access=read"); };
  std::vector<std::byte> data(3 * 16384 + 100);
  // How many bytes bring the session there, and how many a read: its records are always as long.
  std::uint64_t opened = 0, with_read = 0;
  {
    const auto here = session();
    opened = cutter.so_far();
    here->read(0, data);
    with_read = cutter.so_far();
  }
  REQUIRE(with_read > opened + data.size());
  const auto said = [&](std::uint64_t cut) {
    cutter.cut_next_after(no_limit, cut);
    try {
      session()->read(0, data);
    } catch (const MemoryError& error) {
      CHECK(error.errc() == Errc::connection_lost);
      return std::string(error.what());
    }
    return std::string("read");
  };
  // After the first whole record of the answer.
  const std::string inside = said(with_read - 16000);
  INFO(inside);
  CHECK(holds(inside, "in the middle of a frame"));
  CHECK(holds(inside, "the daemon closed the connection"));
  // Before any of it, which is where a frame ends: lost as well, and nothing is said of a frame.
  const std::string between = said(opened);
  INFO(between);
  CHECK_FALSE(holds(between, "in the middle of a frame"));
  CHECK(holds(between, "the daemon closed the connection"));
}

namespace {

/// Two ends that have shaken hands, and the socket beyond each of them.
struct Ends {
  Certificates made;
  std::array<int, 2> client{}, server{};
  std::unique_ptr<tls::Stream> of_client, of_server;

  Ends() {
    made.make("server", {});
    tls::Credentials by_server, by_client;
    by_server.certificate = text_of_file(made.certificate("server"));
    by_server.key = text_of_file(made.key("server"));
    by_client.authorities = text_of_file(made.certificate("ca"));
    server_context_ = tls::Context::of_server(by_server);
    client_context_ = tls::Context::of_client(by_client);
    connect();
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;
  ~Ends() { close(); }

  void connect() {
    close();
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client.data()) == 0);
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, server.data()) == 0);
    of_client = std::make_unique<tls::Stream>(client_context_, client[0], "localhost");
    of_server = std::make_unique<tls::Stream>(server_context_, server[0]);
    for (int i = 0; i < 8 && !(of_client->is_established() && of_server->is_established()); ++i) {
      (void)of_client->handshake();
      pass();
      (void)of_server->handshake();
      pass();
    }
    REQUIRE((of_client->is_established() && of_server->is_established()));
  }
  static std::vector<std::byte> take(int from) {
    std::vector<std::byte> bytes(65536);
    const ssize_t got = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return bytes;
  }
  static void give(int to, std::span<const std::byte> bytes) {
    REQUIRE(::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  void pass() const {
    for (const auto& [from, to] : {std::pair{client[1], server[1]}, std::pair{server[1], client[1]}})
      if (const auto bytes = take(from); !bytes.empty()) give(to, bytes);
  }

private:
  void close() {
    of_client.reset();
    of_server.reset();
    for (int* const fd : {&client[0], &client[1], &server[0], &server[1]})
      if (*fd > 0) ::close(std::exchange(*fd, 0));
  }

  std::shared_ptr<const tls::Context> server_context_, client_context_;
};

}  // namespace

TEST_CASE("a record that is cut at any byte is read once the rest comes, and never without it, either way") {
  Ends ends;
  const auto data = pattern(60, 1);
  const bool to_client = GENERATE(false, true), is_last = GENERATE(false, true);
  std::size_t bytes = 1;
  for (std::size_t cut = 0; cut < bytes; ++cut) {
    ends.connect();
    tls::Stream& from = to_client ? *ends.of_server : *ends.of_client;
    tls::Stream& to = to_client ? *ends.of_client : *ends.of_server;
    const int out = to_client ? ends.server[1] : ends.client[1], in = to_client ? ends.client[1] : ends.server[1];
    std::size_t count = 0;
    REQUIRE(from.write(data, count) == tls::Stream::Result::done);
    const auto record = Ends::take(out);
    bytes = record.size();
    REQUIRE(bytes > data.size());
    std::vector<std::byte> got(100);
    Ends::give(in, std::span(record).first(cut));
    INFO("cut after " << cut << " of " << bytes << (to_client ? " to the client" : " to the server"));
    CHECK(to.read(got, count) == tls::Stream::Result::wants_read);
    CHECK(count == 0);
    if (is_last) {
      ::shutdown(in, SHUT_WR);
      const auto result = to.read(got, count);
      CHECK((result == tls::Stream::Result::end || result == tls::Stream::Result::failed));
      CHECK(count == 0);
      continue;
    }
    Ends::give(in, std::span(record).subspan(cut));
    CHECK(to.read(got, count) == tls::Stream::Result::done);
    got.resize(count);
    CHECK(got == data);
  }
  CHECK(bytes > 60);
}

TEST_CASE("the records of a large write leave by one call, and those of a small one as before") {
  Ends ends;
  const bool to_client = GENERATE(false, true);
  tls::Stream& from = to_client ? *ends.of_server : *ends.of_client;
  // What the socket holds in all; else it would take a part.
  const int room = 1 << 20;
  REQUIRE(::setsockopt(to_client ? ends.server[0] : ends.client[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
  for (const std::size_t bytes : {1u, 16384u, 16385u, 65568u}) {
    const auto data = pattern(bytes, 1);
    const auto before = from.sends();
    std::size_t count = 0;
    INFO(bytes);
    CHECK(from.write(data, count) == tls::Stream::Result::done);
    CHECK(count == bytes);
    CHECK(from.sends() - before == 1);
    CHECK(from.unsent_bytes() == 0);
  }
}

TEST_CASE("what a socket takes in parts comes whole and in its order, however little it takes at a time") {
  Ends ends;
  const bool to_client = GENERATE(false, true);
  tls::Stream& from = to_client ? *ends.of_server : *ends.of_client;
  tls::Stream& to = to_client ? *ends.of_client : *ends.of_server;
  const int out = to_client ? ends.server[1] : ends.client[1], in = to_client ? ends.client[1] : ends.server[1];
  const int little = 4096;
  REQUIRE(::setsockopt(to_client ? ends.server[0] : ends.client[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof little) ==
          0);
  const auto data = pattern(1u << 20, 3);
  std::vector<std::byte> got;
  std::vector<std::byte> room(50'000);
  std::size_t taken = 0, waits = 0, unsent_max = 0;
  // Each call gives what was not taken, and now and then more than the one before.
  std::size_t given = 70'000;
  while (got.size() < data.size()) {
    if (taken < data.size()) {
      const auto piece = std::span(data).subspan(taken, std::min(given, data.size() - taken));
      std::size_t count = 0;
      const auto result = from.write(piece, count);
      REQUIRE((result == tls::Stream::Result::done || result == tls::Stream::Result::wants_write));
      taken += count;
      waits += result == tls::Stream::Result::wants_write ? 1u : 0u;
      given = result == tls::Stream::Result::done ? 17'000 + given % 50'000 : given + 1000;
    }
    unsent_max = std::max(unsent_max, from.unsent_bytes());
    // What is taken, or has left, is no more than there is.
    REQUIRE(taken <= data.size());
    if (const auto bytes = Ends::take(out); !bytes.empty()) Ends::give(in, bytes);
    std::size_t count = 0;
    while (to.read(room, count) == tls::Stream::Result::done)
      got.insert(got.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(count));
  }
  CHECK(got == data);
  CHECK(taken == data.size());
  CHECK(waits > 0);
  CHECK(unsent_max > 0);
  CHECK(unsent_max <= 150u << 10);
  CHECK(from.unsent_bytes() == 0);
}

TEST_CASE("a connection over TLS that is cut anywhere, either way, does no harm, and a session with resume goes on") {
  Secured secured;
  secured.certificates.make("server", {});
  secured.start("server");
  Cutter cutter(secured.port_number());
  const std::string base = cutter.uri(secured) + "&wait_ms=20000";
  open(secured.uri())->grow(1);
  const bool resumes = GENERATE(false, true);
  const std::string uri = base + (resumes ? "&resume=30" : "");
  unsigned round = 0;
  /// "done", or the error. What is written and was answered is there.
  const auto work = [&]() -> std::string {
    const auto data = pattern(200, ++round);
    try {
      const auto session = open_session(uri);
      session->write(100, data);
      std::vector<std::byte> back(data.size());
      session->read(100, back);
      CHECK(back == data);
      session->flush();
      return "done";
    } catch (const MemoryError& error) {
      CHECK(error.errc() == Errc::connection_lost);
      return error.what();
    }
  };
  REQUIRE(work() == "done");
  const std::uint64_t all[2]{cutter.passed(false), cutter.passed(true)};
  constexpr std::uint64_t step = 5;  // of records of many lengths, so that it falls anywhere
  unsigned cut = 0, done = 0;
  for (const bool to_client : {false, true}) {
    const std::uint64_t from = to_client ? all[1] - std::min<std::uint64_t>(all[1], 700) : 1;
    for (std::uint64_t at = from; at < all[to_client ? 1 : 0]; at += step) {
      cutter.cut_next_after(to_client ? no_limit : at, to_client ? at : no_limit);
      const std::string said = work();
      INFO(at << (to_client ? " to the client: " : " to the daemon: ") << said);
      ++cut;
      done += said == "done" ? 1u : 0u;
      if (said != "done") CHECK_FALSE(said.empty());
    }
  }
  INFO(cut << " cuts, " << done << " done");
  CHECK(cut > 60);
  CHECK(done > (resumes ? cut / 3 : 0));
  CHECK(work() == "done");
}
