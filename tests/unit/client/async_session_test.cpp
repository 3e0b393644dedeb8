// The public asynchronous client: many operations in flight, one thread, callbacks.
#include "tests/support/catch.hpp"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <vector>

#include <pageserver/async_session.hpp>

#include "tests/support/errors.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using namespace std::chrono_literals;
using proto::Operation;

namespace {

struct Async {
  explicit Async(Access access = Access::write) {
    image.bytes = pattern(16 * page_size);
    daemon.emplace(image);
    session.emplace(daemon->options(access));
  }
  void finish() {
    CHECK(session->run_until([&] { return session->outstanding() == 0; }, std::chrono::steady_clock::now() + 30s));
  }

  FakeImage image;
  std::optional<FakeDaemon> daemon;
  std::optional<AsyncSession> session;
};

}  // namespace

TEST_CASE("an asynchronous session knows its view when it is open") {
  Async async;
  CHECK(async.session->opened().pages == 16);
  CHECK(async.session->opened().version == Version{9, 1});
  CHECK(async.session->request_bytes_max() == 1u << 20);
  CHECK(async.session->can_zero());
  CHECK(async.session->can_find_data());
  CHECK(async.session->outstanding() == 0);
  CHECK(async.session->has_room());
}

TEST_CASE("operations in flight take effect in the order started, each ends once") {
  Async async;
  const auto data = pattern(5000, 9);
  std::vector<int> order;
  std::vector<std::byte> before(5000), after(5000), zeros(100, std::byte{1});
  auto& session = *async.session;
  const auto note = [&order](int number) {
    return [&order, number](const MemoryError* error) { order.push_back(error == nullptr ? number : -number); };
  };
  session.read(70, before, note(1));
  session.write(70, data, note(2));
  session.read(70, after, note(3));
  session.zero(70, 100, note(4));
  session.read(70, zeros, note(5));
  session.flush(note(6));
  CHECK(order.empty());  // never inside the call that starts it
  CHECK(session.outstanding() == 6);
  async.finish();
  CHECK(order == std::vector<int>{1, 2, 3, 4, 5, 6});
  const auto original = pattern(16 * page_size);
  CHECK(std::equal(before.begin(), before.end(), original.begin() + 70));
  CHECK((after == data));
  CHECK(std::all_of(zeros.begin(), zeros.end(), [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_CASE("operations with a value hand it over") {
  Async async;
  auto& session = *async.session;
  std::uint64_t previous = 0;
  AsyncSession::Size size;
  AsyncSession::DataRanges ranges;
  std::optional<Stat> stat;
  std::optional<Refreshed> refreshed;
  session.grow(4, [&](const MemoryError* error, const std::uint64_t& pages) {
    CHECK(error == nullptr);
    previous = pages;
  });
  session.size([&](const MemoryError*, const AsyncSession::Size& value) { size = value; });
  session.data_ranges(0, 2 * page_size, [&](const MemoryError*, const auto& value) { ranges = value; });
  session.stat([&](const MemoryError*, const Stat& value) { stat = value; });
  session.refresh([&](const MemoryError*, const Refreshed& value) { refreshed = value; });
  bool discarded = false;
  session.discard([&](const MemoryError* error) { discarded = error == nullptr; });
  async.finish();
  CHECK(previous == 16);
  CHECK(size.pages == 20);
  CHECK(ranges.described_until == page_size);
  CHECK(ranges.ranges == std::vector<ByteRange>{{0, page_size}});
  REQUIRE(stat);
  CHECK(stat->store == "demo");
  REQUIRE(refreshed);
  CHECK(refreshed->changed == std::vector<ByteRange>{{10, 20}});
  CHECK(discarded);
}

TEST_CASE("an error is that of one operation, and those beside it end well") {
  Async async;
  auto& session = *async.session;
  std::array<std::byte, 8> bytes{};
  std::vector<std::optional<Errc>> ends;
  const auto note = [&ends](const MemoryError* error) {
    ends.push_back(error == nullptr ? std::nullopt : std::optional{error->errc()});
  };
  session.read(0, bytes, note);
  session.read(1ull << 40, bytes, note);
  session.read(8, bytes, note);
  async.finish();
  CHECK(ends == std::vector<std::optional<Errc>>{std::nullopt, Errc::out_of_bounds, std::nullopt});
}

TEST_CASE("an operation longer than the daemon takes is refused before it starts") {
  Async async;
  std::vector<std::byte> bytes((1u << 20) + 1);
  CHECK(errc_of([&] { async.session->read(0, bytes, [](const MemoryError*) {}); }) == Errc::limit_exceeded);
  CHECK(errc_of([&] { async.session->write(0, bytes, [](const MemoryError*) {}); }) == Errc::limit_exceeded);
  CHECK(async.session->outstanding() == 0);
}

TEST_CASE("a completion may start the next operation, and what it throws passes through") {
  Async async;
  auto& session = *async.session;
  std::array<std::byte, 8> bytes{};
  int left = 20;
  AsyncSession::Done next = [&](const MemoryError*) {
    if (--left > 0) session.read(0, bytes, next);
  };
  session.read(0, bytes, next);
  async.finish();
  CHECK(left == 0);
  session.read(0, bytes, [](const MemoryError*) { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH(session.wait(), "mine");
  CHECK(session.outstanding() == 0);
  session.read(0, bytes, [&](const MemoryError* error) { left = error == nullptr ? 7 : 8; });
  async.finish();
  CHECK(left == 7);
}

TEST_CASE("an event loop outside drives it by socket, events and deadline") {
  Async async;
  auto& session = *async.session;
  std::array<std::byte, 8> bytes{};
  int done = 0;
  for (int i = 0; i < 50; ++i) session.read(0, bytes, [&](const MemoryError*) { ++done; });
  CHECK((session.events() & POLLOUT) != 0);
  session.poll();
  while (session.outstanding() > 0) {
    pollfd polled{session.socket(), session.events(), 0};
    CHECK(session.next_deadline() < AsyncSession::Deadline::max());
    REQUIRE(::poll(&polled, 1, 30'000) == 1);
    session.poll();
  }
  CHECK(done == 50);
  CHECK(session.next_deadline() == AsyncSession::Deadline::max());
  CHECK_FALSE(session.wait());
}

TEST_CASE("when the connection ends all that is outstanding ends with that error, and nothing can be started") {
  FakeDaemon daemon{[](FakePeer& peer) {
    peer.greet({}, 4);
    (void)peer.expect(Operation::read);
    (void)peer.expect(Operation::read);
  }};
  AsyncSession session{daemon.options()};
  std::array<std::byte, 8> bytes{};
  int lost = 0;
  const auto note = [&](const MemoryError* error) {
    lost += error != nullptr && error->errc() == Errc::connection_lost;
  };
  session.read(0, bytes, note);
  session.read(8, bytes, note);
  CHECK(session.run_until([&] { return lost == 2; }, std::chrono::steady_clock::now() + 30s));
  CHECK(errc_of([&] { session.read(0, bytes, note); }) == Errc::connection_lost);
  CHECK(errc_of([&] { session.run_until([] { return false; }); }) == Errc::connection_lost);
}

TEST_CASE("a session that is destroyed with operations in flight runs none of their completions") {
  Async async;
  bool ran = false;
  std::array<std::byte, 8> bytes{};
  async.session->read(0, bytes, [&](const MemoryError*) { ran = true; });
  async.session.reset();
  CHECK_FALSE(ran);
}

TEST_CASE("only a daemon's URI opens an asynchronous session") {
  CHECK(errc_of([] { (void)AsyncSession{"heap:"}; }) == Errc::unsupported);
  CHECK(errc_of([] { (void)AsyncSession{"store:x.img"}; }) == Errc::unsupported);
  CHECK(errc_of([] { (void)AsyncSession{"pageserver://h"}; }) == Errc::invalid_argument);
}
