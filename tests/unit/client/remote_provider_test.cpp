#include "tests/support/catch.hpp"

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <pageserver/open.hpp>

#include <pageserver/async_session.hpp>

#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;

namespace {

std::string text_of(const std::function<void()>& call, Errc code) {
  try {
    call();
  } catch (const MemoryError& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace

TEST_CASE("a remote provider moves and does not copy") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<RemoteProvider>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<RemoteProvider>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<RemoteProvider>);
  FakeImage image;
  FakeDaemon daemon{image};
  {
    RemoteProvider first{daemon.options()};
    RemoteProvider second{std::move(first)};
    CHECK(second.grow(1) == 0);
  }
  daemon.join();
  CHECK(image.count(Operation::close) == 1);
}

TEST_CASE("open carries what the URI says") {
  FakeImage image;
  FakeDaemon daemon{image};
  auto session = open_session(daemon.uri("publish=on_flush&wait_ms=7&name=me"));
  session.reset();
  daemon.join();
  CHECK(image.opened_store == "demo");
  CHECK(image.opened_name == "me");
  CHECK(image.opened.access == proto::Access::write);
  CHECK(image.opened.publish == proto::Publish::on_flush);
  CHECK(image.opened.wait_ms == 7);
}

TEST_CASE("a session without a name is known by program and process") {
  FakeImage image;
  FakeDaemon daemon{image};
  open_session(daemon.uri("access=read&view=pinned")).reset();
  daemon.join();
  CHECK(image.opened_name.find(" pid " + std::to_string(::getpid())) != std::string::npos);
  CHECK(image.opened.view == proto::View::pinned);
}

TEST_CASE("a writer's and a fork's size and bounds cost no round trip") {
  const auto access = GENERATE(Access::write, Access::fork);
  FakeImage image;
  image.bytes.resize(3 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(access)};
  CHECK(image.total() == 1);  // open
  for (int i = 0; i < 100; ++i) {
    CHECK(provider.size() == 3 * page_size);
    CHECK(provider.pages() == 3);
    CHECK(provider.grow(0) == 3);
  }
  std::byte buffer[9];
  CHECK(text_of([&] { provider.read(3 * page_size, buffer); }, Errc::out_of_bounds) ==
        "pageserver://127.0.0.1:" + std::to_string(daemon.port()) +
            "/demo: read offset=196608 length=9 exceeds size=196608");
  text_of([&] { provider.write(~0ull, buffer); }, Errc::out_of_bounds);
  text_of([&] { provider.zero(1, 3 * page_size); }, Errc::out_of_bounds);
  text_of([&] { (void)provider.data_ranges(1, 3 * page_size); }, Errc::out_of_bounds);
  CHECK(image.total() == 1);
  CHECK(provider.grow(2) == 3);
  CHECK(provider.pages() == 5);
  CHECK(image.total() == 2);
}

TEST_CASE("a pin knows its size and version until it moves on") {
  FakeImage image;
  image.bytes.resize(2 * page_size);
  FakeDaemon daemon{image};
  auto options = daemon.options(Access::read);
  options.view = View::pinned;
  RemoteProvider provider{options};
  CHECK(provider.pages() == 2);
  CHECK(provider.version() == Version{9, 1});
  CHECK(image.total() == 1);
  image.bytes.resize(4 * page_size);  // the daemon is idle between requests
  const auto refreshed = provider.refresh();
  CHECK(refreshed.pages == 4);
  CHECK(refreshed.changed == std::vector<ByteRange>{{10, 20}});
  CHECK_FALSE(refreshed.everything);
  CHECK(provider.size() == 4 * page_size);
  CHECK(image.total() == 2);
}

TEST_CASE("a live reader asks for its size") {
  FakeImage image;
  image.bytes.resize(2 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(Access::read)};
  CHECK(provider.size() == 2 * page_size);
  CHECK(provider.pages() == 2);
  CHECK(provider.version() == Version{9, 1});
  CHECK(image.count(Operation::size) == 3);
}

TEST_CASE("a reader is refused locally what only writers may do") {
  FakeImage image;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(Access::read)};
  const auto data = pattern(3);
  CHECK(text_of([&] { provider.write(0, data); }, Errc::read_only).find("/demo: write: ") != std::string::npos);
  CHECK(text_of([&] { provider.grow(1); }, Errc::read_only).find("access=write") != std::string::npos);
  text_of([&] { provider.zero(0, 1); }, Errc::read_only);
  provider.flush();
  provider.discard();
  CHECK(image.total() == 1);
}

TEST_CASE("large reads and writes are split at the daemon's limit and pipelined") {
  FakeImage image;
  image.limits.request_bytes_max = 1000;
  image.limits.requests_in_flight_max = 8;
  image.bytes.resize(2 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  const auto data = pattern(100'500, 4);
  provider.write(77, data);
  CHECK(image.count(Operation::write) == 101);
  CHECK(std::memcmp(image.bytes.data() + 77, data.data(), data.size()) == 0);
  std::vector<std::byte> back(data.size());
  provider.read(77, back);
  CHECK(back == data);
  CHECK(image.count(Operation::read) == 101);
  provider.read(5, std::span{back}.first(1000));
  CHECK(image.count(Operation::read) == 102);
}

TEST_CASE("a live reader's split read past the end names the caller's numbers") {
  FakeImage image;
  image.limits.request_bytes_max = 1000;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(Access::read)};
  std::vector<std::byte> buffer(5000);
  const auto past = text_of([&] { provider.read(page_size - 4999, buffer); }, Errc::out_of_bounds);
  CHECK(past.find("read offset=60537 length=5000 exceeds size=65536") != std::string::npos);
  const auto wrapping = text_of([&] { provider.read(~0ull - 4000, buffer); }, Errc::out_of_bounds);
  CHECK(wrapping.find("length=5000 exceeds size=65536") != std::string::npos);
  provider.read(page_size - 5000, buffer);
  provider.read(page_size, {});
  text_of([&] { provider.read(page_size + 1, {}); }, Errc::out_of_bounds);
}

TEST_CASE("of a split call's errors the first is thrown, and all answers are taken in") {
  FakeImage image;
  image.limits.request_bytes_max = 1000;
  image.bytes.resize(page_size);
  int writes = 0;
  image.before = [&](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::write || ++writes < 3) return false;
    peer.error(request, proto::Status::no_space, "write " + std::to_string(writes));
    return true;
  };
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  const auto data = pattern(10'000);
  CHECK(text_of([&] { provider.write(0, data); }, Errc::no_space).ends_with("/demo: write 3"));
  std::byte byte{};
  provider.read(0, {&byte, 1});
  CHECK(byte == data[0]);
}

TEST_CASE("discard and refresh take their size from the daemon") {
  FakeImage image;
  image.bytes.resize(2 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(Access::fork)};
  image.bytes.resize(page_size);
  provider.discard();
  CHECK(provider.pages() == 1);
  image.bytes.resize(5 * page_size);
  CHECK(provider.refresh().pages == 5);
  CHECK(provider.pages() == 5);
  CHECK(image.count(Operation::size) == 0);
}

TEST_CASE("after a flush of a transaction that failed, the size is asked for") {
  FakeImage image;
  image.bytes.resize(page_size);
  image.before = [](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::flush) return false;
    peer.error(request, proto::Status::no_space, "the disk is full");
    return true;
  };
  FakeDaemon daemon{image};
  auto options = daemon.options();
  options.publish = Publish::on_flush;
  RemoteProvider provider{options};
  provider.grow(1);
  CHECK(text_of([&] { provider.flush(); }, Errc::no_space).ends_with("/demo: flush: the disk is full"));
  CHECK(provider.pages() == 2);
  CHECK(image.count(Operation::size) == 1);
  CHECK(provider.pages() == 2);
  CHECK(image.count(Operation::size) == 1);
}

TEST_CASE("zero is one request where the daemon has it, and zeros where it has not") {
  FakeImage image;
  const bool has_zero = GENERATE(true, false);
  image.limits.features = has_zero ? proto::features_all : 0;
  image.bytes = pattern(40 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  const auto before = image.bytes;
  provider.zero(100, 39 * page_size);
  CHECK(image.count(Operation::zero) == (has_zero ? 1 : 0));
  CHECK(image.count(Operation::write) == (has_zero ? 0 : 3));
  auto expected = before;
  std::fill_n(expected.begin() + 100, 39 * page_size, std::byte{0});
  CHECK(image.bytes == expected);
  provider.zero(40 * page_size, 0);
}

TEST_CASE("data_ranges asks until all is described, and without the feature everything is data") {
  FakeImage image;
  const bool has_ranges = GENERATE(true, false);
  const auto access = GENERATE(Access::read, Access::write);
  image.limits.features = has_ranges ? proto::features_all : 0;
  image.bytes.resize(4 * page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options(access)};
  const auto ranges = provider.data_ranges(10, 2 * page_size + 5);
  if (has_ranges) {
    CHECK(ranges == std::vector<ByteRange>{{10, page_size}, {10 + page_size, page_size}, {10 + 2 * page_size, 5}});
    CHECK(image.count(Operation::data_ranges) == 3);
  } else {
    CHECK(ranges == std::vector<ByteRange>{{10, 2 * page_size + 5}});
  }
  CHECK(provider.data_ranges(4 * page_size, 0).empty());
  text_of([&] { (void)provider.data_ranges(4 * page_size, 1); }, Errc::out_of_bounds);
}

TEST_CASE("stat hands on what the daemon reports") {
  FakeImage image;
  const bool knows_recoveries = GENERATE(true, false);
  if (!knows_recoveries) image.limits.features = proto::features_all & ~proto::feature_recovery;
  image.bytes.resize(page_size);
  FakeDaemon daemon{image};
  RemoteProvider provider{daemon.options()};
  const auto stat = provider.stat();
  CHECK(stat.store == "demo");
  CHECK(stat.pages == 1);
  CHECK(stat.version == Version{9, 1});
  REQUIRE(stat.writer);
  CHECK(stat.writer->name == "w");
  CHECK(stat.writer->address == "127.0.0.1:1");
  CHECK(stat.writer->since_unix_ms == 5);
  CHECK(stat.writer->idle_ms == 6);
  CHECK(stat.writer->epoch == 7);
  CHECK(stat.writer->access == Access::write);
  CHECK(stat.writer->publish == Publish::on_flush);
  CHECK_FALSE(stat.oldest_holder);
  CHECK(stat.log_bytes == 77);
  CHECK(stat.image_warning == "odd");
  REQUIRE(stat.recovery.has_value() == knows_recoveries);
  if (!stat.recovery) return;
  CHECK(stat.recovery->records == 17);
  CHECK(stat.recovery->kept_count == 3);
  CHECK(stat.recovery->kept_files == std::vector<std::string>{"a.kept", "b.kept"});
  CHECK(stat.recovery->warning == "torn");
}

TEST_CASE("timeouts of 0 and of the largest number are none, and those below zero are refused") {
  for (const auto timeout : {std::chrono::milliseconds::max(), std::chrono::milliseconds{0}}) {
    FakeImage image;
    image.bytes.resize(page_size);
    FakeDaemon daemon{image};
    auto options = daemon.options();
    options.connect_timeout = options.request_timeout = timeout;
    options.wait_ms = 0xffffffff;
    {
      RemoteProvider provider{options};
      provider.write(0, pattern(5000));
      CHECK(provider.pages() == 1);
      CHECK(provider.stat().pages == 1);
    }
    options.host = "localhost";
    AsyncSession session{options};
    bool done = false;
    session.flush([&](const MemoryError* error) { done = error == nullptr; }, std::chrono::milliseconds::max());
    CHECK(session.next_deadline() == AsyncSession::Deadline::max());
    CHECK(session.run_until([&] { return done; }, AsyncSession::Deadline::clock::now() + std::chrono::seconds{30}));
  }
  FakeImage image;
  FakeDaemon daemon{image};
  auto options = daemon.options();
  options.request_timeout = std::chrono::milliseconds{-1};
  CHECK_THROWS_AS(RemoteProvider{options}, MemoryError);
}
