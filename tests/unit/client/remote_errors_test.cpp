// What a session says and does when the daemon, the network or the caller does wrong.
#include "tests/support/catch.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include <pageserver/open.hpp>

#include "tests/support/errors.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace std::chrono_literals;
using proto::Operation;

namespace {

bool has(const MemoryError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos;
}

/// Every call of the interface.
std::vector<std::function<void()>> all_calls(Session& session) {
  static std::byte buffer[3];
  return {[&] { session.size(); },           [&] { session.pages(); },
          [&] { session.grow(0); },          [&] { session.grow(1); },
          [&] { session.read(0, buffer); },  [&] { session.read(0, {}); },
          [&] { session.write(0, buffer); }, [&] { session.flush(); },
          [&] { session.version(); },        [&] { session.refresh(); },
          [&] { session.discard(); },        [&] { session.stat(); },
          [&] { session.zero(0, 1); },       [&] { (void)session.data_ranges(0, 1); }};
}

void check_sticky(Session& session, const MemoryError& first) {
  for (const auto& call : all_calls(session)) {
    const auto again = thrown_by(call);
    CHECK(again.code() == first.code());
    CHECK(std::string{again.what()} == first.what());
  }
}

}  // namespace

TEST_CASE("an open that the daemon refuses throws its reason") {
  const auto row = GENERATE(table<proto::Status, Errc>({{proto::Status::busy, Errc::busy},
                                                        {proto::Status::not_found, Errc::not_found},
                                                        {proto::Status::read_only, Errc::read_only},
                                                        {proto::Status::unsupported, Errc::unsupported},
                                                        {proto::Status::limit_exceeded, Errc::limit_exceeded},
                                                        {proto::Status::damaged, Errc::damaged}}));
  FakeDaemon daemon{[&](FakePeer& peer) {
    (void)peer.expect(Operation::hello);
    peer.send(hello_answer({}));
    peer.error(peer.expect(Operation::open), std::get<0>(row), "writer is \"w\" from 127.0.0.1:5 since noon");
    peer.wait_for_end();
  }};
  const auto error = thrown_by([&] { RemoteProvider provider{daemon.options()}; });
  CHECK(error.code() == std::get<1>(row));
  CHECK(has(error, daemon.uri() + ": open: writer is \"w\" from 127.0.0.1:5 since noon"));
  daemon.join();
}

TEST_CASE("usage errors are told before anything is sent") {
  const auto refuse = [](auto change) {
    RemoteOptions options;
    options.host = "127.0.0.1";
    options.port = 1;
    options.store = "demo";
    change(options);
    return thrown_by([&] { RemoteProvider provider{options}; });
  };
  const auto check = [](const MemoryError& error, std::string_view part) {
    CHECK(error.code() == Errc::invalid_argument);
    CHECK(has(error, part));
  };
  check(refuse([](auto& options) { options.host.clear(); }), "a host or a socket_path");
  check(refuse([](auto& options) { options.socket_path = "/s"; }), "not both");
  check(refuse([](auto& options) { options.store = "../x"; }), "\"../x\" is no store's name");
  check(refuse([](auto& options) { options.name = "a\nb"; }), "control characters");
  check(refuse([](auto& options) { options.view = View::pinned; }), "access=read only");
  check(refuse([](auto& options) {
          options.access = Access::fork;
          options.publish = Publish::on_flush;
        }),
        "access=write only");
}

TEST_CASE("a lost connection is thrown again by every later call") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::read);
    peer.close();
  }};
  RemoteProvider provider{daemon.options()};
  std::byte buffer[3];
  const auto error = thrown_by([&] { provider.read(0, buffer); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, daemon.uri() + ": read: the daemon closed the connection"));
  check_sticky(provider, error);
}

TEST_CASE("a reset connection is connection_lost with the system's words") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::write);
    peer.reset();
  }};
  RemoteProvider provider{daemon.options()};
  const auto data = pattern(10);
  const auto error = thrown_by([&] { provider.write(0, data); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "reset"));
  check_sticky(provider, error);
}

TEST_CASE("a daemon that stops: its goodbye is the error, also for what needs no round trip") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::flush);
    peer.notice(Operation::goodbye, proto::Status::stopping, "pageserverd stops (SIGTERM)");
    peer.wait_for_end();
  }};
  RemoteProvider provider{daemon.options()};
  const auto error = thrown_by([&] { provider.flush(); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "goodbye: pageserverd stops (SIGTERM)"));
  check_sticky(provider, error);
}

TEST_CASE("an answer of stopping is connection_lost and stays") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    peer.error(peer.expect(Operation::grow), proto::Status::stopping, "no more");
    peer.wait_for_end();
  }};
  RemoteProvider provider{daemon.options()};
  const auto error = thrown_by([&] { provider.grow(1); });
  CHECK(error.code() == Errc::connection_lost);
  check_sticky(provider, error);
}

TEST_CASE("a request that times out is thrown again by every later call") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    peer.wait_for_end();
  }};
  auto session = open_session(daemon.uri("request_timeout=40ms"));
  std::byte buffer[3];
  const auto error = thrown_by([&] { session->read(0, buffer); });
  CHECK(error.code() == Errc::timed_out);
  CHECK(has(error, "read: no answer within 40ms"));
  check_sticky(*session, error);
}

TEST_CASE("a daemon that breaks the protocol is protocol_error, and stays") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::stat);
    peer.send(pattern(100));
    peer.wait_for_end();
  }};
  RemoteProvider provider{daemon.options()};
  const auto error = thrown_by([&] { provider.stat(); });
  CHECK(error.code() == Errc::protocol_error);
  check_sticky(provider, error);
}

TEST_CASE("a lost lease is thrown by every later call, as soon as the notice is there") {
  FakeImage image;
  image.bytes.resize(page_size);
  image.before = [](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::stat) return false;
    peer.notice(Operation::lease_lost, proto::Status::lease_lost, "broken by root");
    return false;
  };
  FakeDaemon daemon{image};
  {
    RemoteProvider provider{daemon.options()};
    CHECK(provider.size() == page_size);
    provider.stat();
    const auto error = thrown_by([&] { provider.size(); });
    CHECK(error.code() == Errc::lease_lost);
    CHECK(has(error, "lease_lost: broken by root"));
    check_sticky(provider, error);
  }
  daemon.join();
  CHECK(image.count(Operation::close) == 1);  // said all the same
}

TEST_CASE("an answer of lease_lost stays, too") {
  FakeImage image;
  image.bytes.resize(page_size);
  image.before = [](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::write) return false;
    peer.error(request, proto::Status::lease_lost, "idle for 10s");
    return true;
  };
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  const auto data = pattern(1);
  const auto error = thrown_by([&] { provider.write(0, data); });
  CHECK(error.code() == Errc::lease_lost);
  check_sticky(provider, error);
}

TEST_CASE("other errors pass: the session works on") {
  FakeImage image;
  image.bytes.resize(page_size);
  int refused = 0;
  image.before = [&](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::read || refused == 2) return false;
    peer.error(request, ++refused == 1 ? proto::Status::provider_error : static_cast<proto::Status>(999), "EIO");
    return true;
  };
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  std::byte byte{};
  for (int i = 0; i < 2; ++i) {
    const auto error = thrown_by([&] { provider.read(0, {&byte, 1}); });
    CHECK(error.code() == Errc::provider_error);
    CHECK(has(error, "/demo: read: EIO"));
  }
  provider.read(0, {&byte, 1});
}

TEST_CASE("the destructor waits for the daemon's word that the session ended, at most a second") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::close);
    peer.wait_for_end();
  }};
  const auto begin = std::chrono::steady_clock::now();
  { RemoteProvider provider{daemon.options()}; }
  const auto elapsed = std::chrono::steady_clock::now() - begin;
  CHECK(elapsed >= 950ms);
  CHECK(elapsed < 20s);
  daemon.join();
}

TEST_CASE("the destructor says nothing on a connection that ended") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 1);
    (void)peer.expect(Operation::flush);
    peer.notice(Operation::goodbye, proto::Status::stopping, "stop");
    if (peer.next()) throw std::runtime_error("something was sent after goodbye");
  }};
  {
    RemoteProvider provider{daemon.options()};
    CHECK_THROWS_AS(provider.flush(), MemoryError);
  }
  daemon.join();
}

TEST_CASE("every conversation of a session cut at every byte throws, and never hangs") {
  // What the daemon says in a small session; the client meets the end of the stream at each byte of it.
  std::vector<proto::Bytes> answers(5);
  answers[0] = hello_answer({});
  proto::encode(answers[1], 2, proto::OpenAnswer{1, 1, {9, 1}, 1, 1ull << 40, {}});
  proto::encode(answers[2], 3, proto::WriteAnswer{});
  proto::encode(answers[3], 4, proto::ReadAnswer{pattern(5)});
  proto::encode(answers[4], 5, proto::FlushAnswer{{9, 2}});
  std::size_t whole = 0;
  for (const auto& answer : answers) whole += answer.size();
  std::atomic<std::size_t> cut = 0;
  FakeDaemon daemon{[&](FakePeer& peer) {
    std::size_t left = cut;
    for (const auto& answer : answers) {
      if (!peer.next()) return;
      const auto part = std::span{answer}.first(std::min(left, answer.size()));
      peer.send(part);
      left -= part.size();
      if (part.size() < answer.size()) break;
    }
    ::shutdown(peer.fd(), SHUT_WR);
    peer.wait_for_end();
  }};
  for (; cut <= whole; ++cut) {
    int steps = 0;
    try {
      RemoteProvider provider{daemon.options()};
      ++steps;
      provider.write(0, pattern(5));
      ++steps;
      std::byte buffer[5];
      provider.read(0, buffer);
      ++steps;
      provider.flush();
      ++steps;
    } catch (const MemoryError& error) {
      CHECK(error.code() == Errc::connection_lost);
    }
    CHECK((steps == 4) == (cut == whole));
  }
}
