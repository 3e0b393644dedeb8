// What close() says that a destructor can't: against a daemon of the test's own that answers, hangs, or goes away.
#include "tests/support/catch.hpp"

#include <optional>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/errors.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace std::chrono_literals;
using proto::Operation;

namespace {

using Clock = std::chrono::steady_clock;

/// Answers everything but what `before` takes.
struct Served {
  explicit Served(std::function<bool(FakePeer&, const Request&)> before = {}) {
    image.bytes = pattern(4 * page_size);
    image.before = std::move(before);
    daemon.emplace(image);
  }
  RemoteOptions options(std::chrono::milliseconds request_timeout = 60s) {
    auto options = daemon->options(Access::write);
    options.request_timeout = request_timeout;
    return options;
  }

  FakeImage image;
  std::optional<FakeDaemon> daemon;
};

bool is_close(const Request& request) { return request.header.operation == Operation::close; }

}  // namespace

TEST_CASE("close tells the daemon once, and the destructor nothing more") {
  Served served;
  {
    RemoteProvider session{served.options()};
    session.close();
    CHECK(served.image.count(Operation::close) == 1);
    session.close();
  }
  CHECK(served.image.count(Operation::close) == 1);
}

TEST_CASE("close waits for the daemon as long as request_timeout says, and names the time") {
  Served served{[](FakePeer& peer, const Request& request) {
    if (is_close(request)) peer.wait_for_end();
    return is_close(request);
  }};
  RemoteProvider session{served.options(100ms)};
  const auto began = Clock::now();
  check_error(thrown_by([&] { session.close(); }), Errc::timed_out, {"close", "100ms"});
  CHECK(Clock::now() - began >= 100ms);
  // It is over, whatever was thrown.
  CHECK(errc_of([&] { (void)session.pages(); }) == Errc::invalid_argument);
  CHECK_NOTHROW(session.close());
}

TEST_CASE("close says that the connection was lost") {
  Served served{[](FakePeer& peer, const Request& request) {
    if (is_close(request)) peer.reset();
    return is_close(request);
  }};
  {
    RemoteProvider session{served.options()};
    CHECK(errc_of([&] { session.close(); }) == Errc::connection_lost);
  }
  Served dies{[](FakePeer& peer, const Request& request) {
    if (request.header.operation == Operation::flush) peer.reset();
    return request.header.operation == Operation::flush;
  }};
  RemoteProvider session{dies.options()};
  const auto lost = thrown_by([&] { session.flush(); });
  // The error that every call throws since.
  const auto said = thrown_by([&] { session.close(); });
  CHECK(said.code() == Errc::connection_lost);
  CHECK(std::string{said.what()} == lost.what());
}

TEST_CASE("close after a lost lease is no error") {
  Served served{[](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::flush) return false;
    peer.notice(Operation::lease_lost, proto::Status::lease_lost, "someone broke it");
    peer.error(request, proto::Status::lease_lost, "someone broke it");
    return true;
  }};
  RemoteProvider session{served.options()};
  CHECK(errc_of([&] { session.flush(); }) == Errc::lease_lost);
  CHECK_NOTHROW(session.close());
  CHECK(served.image.count(Operation::close) == 1);
}

TEST_CASE("a cached transaction that was not flushed goes with close, unsent") {
  Served served;
  auto options = served.options();
  options.publish = Publish::on_flush;
  options.cache_bytes = 1u << 20;
  RemoteProvider session{options};
  session.write(0, pattern(100, 3));
  session.close();
  CHECK(served.image.count(Operation::write) == 0);
  CHECK(served.image.published() == 0);
}

TEST_CASE("what a write of several pages may leave in part is what atomic_write_bytes says") {
  Served served;
  auto options = served.options();
  {
    RemoteProvider plain{options};
    CHECK(plain.atomic_write_bytes() == served.image.limits.request_bytes_max);
  }
  options.cache_bytes = 1u << 20;
  {
    RemoteProvider through{options};
    CHECK(through.atomic_write_bytes() == served.image.limits.request_bytes_max);
  }
  options.publish = Publish::on_flush;
  RemoteProvider back{options};
  CHECK(back.atomic_write_bytes() == page_size);
}

TEST_CASE("a commit of a lost lease says that, whatever was refused before") {
  Served served{[](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::flush) return false;
    peer.notice(Operation::lease_lost, proto::Status::lease_lost, "someone broke it");
    peer.error(request, proto::Status::lease_lost, "someone broke it");
    return true;
  }};
  RemoteProvider session{served.options()};
  (void)thrown_by([&] { session.write(1u << 30, pattern(9)); });
  CHECK(errc_of([&] { session.commit(); }) == Errc::invalid_argument);
  CHECK(errc_of([&] { session.flush(); }) == Errc::lease_lost);
  CHECK(errc_of([&] { session.commit(); }) == Errc::lease_lost);
}

TEST_CASE("an asynchronous close ends what was started before it, and nothing can be started behind it") {
  Served served;
  std::optional<AsyncSession> session{served.options()};
  std::vector<std::byte> bytes(100);
  std::vector<int> ended;
  session->read(0, bytes, [&](const MemoryError* error) { ended.push_back(error == nullptr ? 1 : -1); });
  session->write(0, pattern(100, 4), [&](const MemoryError* error) { ended.push_back(error == nullptr ? 2 : -2); });
  session->close([&](const MemoryError* error) { ended.push_back(error == nullptr ? 3 : -3); });
  const auto refused = [](auto call) { check_error(thrown_by(call), Errc::invalid_argument, {"closed"}); };
  const auto none = [](auto...) { FAIL("it was never started"); };
  refused([&] { session->read(0, bytes, none); });
  refused([&] { session->write(0, bytes, none); });
  refused([&] { session->zero(0, 1, none); });
  refused([&] { session->grow(1, none); });
  refused([&] { session->flush(none); });
  refused([&] { session->commit(none); });
  refused([&] { session->discard(none); });
  refused([&] { session->refresh(none); });
  refused([&] { session->size(none); });
  refused([&] { session->data_ranges(0, 1, none); });
  refused([&] { session->stat(none); });
  refused([&] { session->break_lease(0, none); });
  refused([&] { session->close(none); });
  CHECK(session->run_until([&] { return session->outstanding() == 0; }, Clock::now() + 30s));
  CHECK(ended == std::vector<int>{1, 2, 3});
  session.reset();
  CHECK(served.image.count(Operation::close) == 1);
  CHECK(served.image.count(Operation::read) == 1);
}

TEST_CASE("an asynchronous close that gets no answer times out, and the destructor does not wait for one") {
  Served served{[](FakePeer& peer, const Request& request) {
    if (is_close(request)) peer.wait_for_end();
    return is_close(request);
  }};
  {
    AsyncSession session{served.options()};
    std::optional<Errc> said;
    session.close([&](const MemoryError* error) { said = error == nullptr ? Errc{} : error->errc(); }, 50ms);
    CHECK(session.run_until([&] { return said.has_value(); }, Clock::now() + 30s));
    CHECK(said == Errc::timed_out);
  }
  std::optional<AsyncSession> session{served.options()};
  session->close([](const MemoryError*) {});
  (void)session->poll();
  const auto began = Clock::now();
  session.reset();
  CHECK(Clock::now() - began < 900ms);
}
