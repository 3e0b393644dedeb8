// What a session with a cache asks of the daemon, counted, and what it never does.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <thread>

#include <pageserver/error.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/errors.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;

namespace {

constexpr std::uint64_t kib = 1024;

/// A session with a cache on an image of random-looking bytes.
struct Cached {
  explicit Cached(Access access, Publish publish = Publish::on_write, std::uint64_t cache_bytes = 64 * page_size,
                  std::size_t pages = 40, std::function<bool(FakePeer&, const Request&)> before = {},
                  std::uint64_t features = proto::features_all) {
    image.limits.features = features;
    image.bytes = pattern(pages * page_size);
    image.before = std::move(before);
    daemon.emplace(image);
    auto options = daemon->options(access);
    if (access == Access::read) options.view = View::pinned;
    options.publish = publish;
    options.cache_bytes = cache_bytes;
    session.emplace(options);
    model = image.bytes;
  }

  void read(std::uint64_t offset, std::size_t length) {
    proto::Bytes bytes(length);
    session->read(offset, bytes);
    CHECK(std::equal(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset)));
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) {
    session->write(offset, data);
    std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  /// The whole page, as an engine writes it, with `count` bytes changed.
  void rewrite(std::uint64_t page, std::size_t begin, std::size_t count) {
    proto::Bytes bytes(page_size);
    session->read(page * page_size, bytes);
    for (std::size_t i = 0; i < count; ++i) bytes[begin + i] ^= std::byte{0x55};
    write(page * page_size, bytes);
  }
  std::uint64_t count(Operation operation) const { return image.count(operation); }
  bool daemon_has_all() const { return image.bytes == model; }

  FakeImage image;
  std::optional<FakeDaemon> daemon;
  std::optional<RemoteProvider> session;
  proto::Bytes model;
};

}  // namespace

TEST_CASE("a cached read costs no request") {
  const auto access = GENERATE(Access::read, Access::write, Access::fork);
  Cached cached{access};
  cached.read(page_size + 5, 8);
  const auto before = cached.session->traffic();
  for (std::size_t i = 0; i < 100; ++i) cached.read(page_size + i * 64, 64);
  const auto after = cached.session->traffic();
  CHECK(after.requests == before.requests);
  CHECK(after.round_trips == before.round_trips);
  CHECK(after.cache_hits - before.cache_hits == 100);
  CHECK(after.cache_misses == 1);
}

TEST_CASE("a live reader has no cache: each read is a request") {
  FakeImage image;
  image.bytes = pattern(4 * page_size);
  FakeDaemon daemon{image};
  auto options = daemon.options(Access::read);
  options.cache_bytes = 64 * page_size;
  RemoteProvider session{options};
  proto::Bytes bytes(8);
  for (int i = 0; i < 10; ++i) session.read(0, bytes);
  CHECK(image.count(Operation::read) == 10);
  CHECK(session.traffic().cache_bytes_peak == 0);
}

TEST_CASE("a page rewritten to change ten bytes sends those, and a commit is one round trip, or two to an old daemon") {
  const std::uint64_t features = GENERATE(proto::features_all, proto::features_all & ~proto::feature_commit);
  const std::uint64_t trips = features == proto::features_all ? 1 : 2;
  Cached cached{Access::write, Publish::on_flush, 64 * page_size, 40, {}, features};
  cached.read(3 * page_size, page_size);
  cached.read(7 * page_size, page_size);
  const auto before = cached.session->traffic();
  cached.rewrite(3, 1000, 10);
  CHECK(cached.session->traffic().requests == before.requests);
  CHECK_FALSE(cached.daemon_has_all());
  cached.session->flush();
  auto after = cached.session->traffic();
  CHECK(cached.daemon_has_all());
  CHECK(after.bytes_sent - before.bytes_sent < 200);
  CHECK(after.round_trips - before.round_trips == trips);
  CHECK(cached.image.published() == 1);

  // Twenty rewrites of two pages, with a grow: still one commit.
  cached.session->grow(1);
  cached.model.resize(cached.model.size() + page_size);
  for (std::size_t i = 0; i < 20; ++i) cached.rewrite(i % 2 == 0 ? 3 : 7, 2000 + i * 600, 20);
  cached.write(40 * page_size + 9, pattern(100, 3));
  const auto middle = cached.session->traffic();
  CHECK(middle.requests == after.requests);
  cached.session->flush();
  after = cached.session->traffic();
  CHECK(cached.daemon_has_all());
  CHECK(after.round_trips - middle.round_trips == trips);
  CHECK(after.bytes_sent - middle.bytes_sent < 4 * kib);

  // Without changes it is a flush, which makes durable what others published.
  cached.session->flush();
  CHECK(cached.session->traffic().round_trips - after.round_trips == 1);
  CHECK(cached.image.published() == 3);
  CHECK(cached.count(Operation::commit) == (trips == 1 ? 2 : 0));
  CHECK(cached.count(Operation::flush) == (trips == 1 ? 1 : 3));
}

TEST_CASE("on_write sends what differs in one write, and nothing where nothing does") {
  Cached cached{Access::write, Publish::on_write};
  cached.read(0, 2 * page_size);
  const auto before = cached.session->traffic();
  cached.rewrite(0, 100, 10);
  CHECK(cached.daemon_has_all());
  CHECK(cached.count(Operation::write) == 1);
  CHECK(cached.session->traffic().bytes_sent - before.bytes_sent < 200);
  cached.write(50, std::span{cached.model}.subspan(50, page_size));
  CHECK(cached.count(Operation::write) == 1);
  auto across = proto::Bytes(cached.model.begin() + page_size - 200, cached.model.begin() + page_size + 200);
  across[150] ^= std::byte{1};
  across[250] ^= std::byte{1};
  cached.write(page_size - 200, across);
  CHECK(cached.count(Operation::write) == 2);
  CHECK(cached.daemon_has_all());
  cached.read(0, 2 * page_size);
  CHECK(cached.count(Operation::read) == 2);
}

TEST_CASE("on_write compares what is first written to a grown page with zeros") {
  Cached cached{Access::write, Publish::on_write};
  const auto end = cached.model.size();
  CHECK(cached.session->grow(2) == 40);
  cached.model.resize(end + 2 * page_size);
  const auto before = cached.session->traffic();
  cached.write(end, proto::Bytes(page_size));  // as an engine clears a page that it has just grown
  CHECK(cached.count(Operation::write) == 0);
  auto page = proto::Bytes(page_size);
  page[1000] = std::byte{7};
  cached.write(end + page_size, page);
  cached.read(end, 2 * page_size);
  CHECK(cached.count(Operation::write) == 1);
  CHECK(cached.count(Operation::read) == 0);
  CHECK(cached.session->traffic().bytes_sent - before.bytes_sent < 200);
  CHECK(cached.daemon_has_all());
  // A grow of more than the cache is worth takes no room in it.
  CHECK(cached.session->grow(10'000) == 42);
  CHECK(cached.session->traffic().cache_bytes <= (2 + 16) * page_size);
}

TEST_CASE("a whole page is written without being read, and so are parts that follow each other") {
  Cached cached{Access::write, Publish::on_flush};
  cached.write(2 * page_size, pattern(page_size, 9));
  for (std::size_t at = 0; at < 4 * page_size; at += 4 * kib)
    cached.write(5 * page_size + at, pattern(4 * kib, static_cast<unsigned>(at)));
  cached.read(2 * page_size, page_size);
  cached.read(5 * page_size, 4 * page_size);
  CHECK(cached.count(Operation::read) == 0);
  cached.write(20 * page_size + 100, pattern(50, 4));
  cached.read(20 * page_size, 300);  // what lies around it is the daemon's
  CHECK(cached.count(Operation::read) == 1);
  cached.session->flush();
  CHECK(cached.daemon_has_all());
}

TEST_CASE("pages that are zero travel as zeros") {
  Cached cached{Access::write, Publish::on_flush};
  const auto before = cached.session->traffic();
  cached.write(page_size, proto::Bytes(2 * page_size));
  cached.session->flush();
  CHECK(cached.daemon_has_all());
  CHECK(cached.session->traffic().bytes_sent - before.bytes_sent < 200);
}

TEST_CASE("reads that run forward are read ahead, within bounds") {
  Cached cached{Access::read, Publish::on_write, 64 * page_size};
  for (std::uint64_t page = 0; page < 10; ++page) cached.read(page * page_size, page_size);
  const auto traffic = cached.session->traffic();
  CHECK(traffic.pages_read_ahead >= 10);
  CHECK(traffic.pages_read_ahead <= 10 + 16);
  CHECK(traffic.cache_misses <= 4);
  (void)cached.session->stat();  // what was read ahead has arrived at the daemon before
  CHECK(cached.count(Operation::read) == traffic.pages_read_ahead + traffic.cache_misses);
  for (std::uint64_t page = 10; page < 40; ++page) cached.read(page * page_size, page_size);
  (void)cached.session->stat();
  CHECK(cached.count(Operation::read) == 40);
}

TEST_CASE("reads here and there are not read ahead") {
  Cached cached{Access::read};
  for (const std::uint64_t page : {5u, 30u, 2u, 17u, 9u, 16u}) cached.read(page * page_size, 100);
  CHECK(cached.session->traffic().pages_read_ahead == 0);
}

TEST_CASE("the cache stays within its bytes, copies of changed pages included") {
  const auto access = GENERATE(Access::write, Access::fork, Access::read);
  const std::uint64_t bound = GENERATE(2u, 3u, 5u, 8u, 16u) * page_size;
  Cached cached{access, access == Access::write ? Publish::on_flush : Publish::on_write, bound};
  for (std::uint64_t page = 0; page < 40; ++page) {
    cached.read(page * page_size + 7, 5000);
    if (access != Access::read) cached.rewrite((page * 7) % 40, 100 + page, 30);
    if (access != Access::read) cached.write((page * 11) % 39 * page_size + 60'000, pattern(7000, 8));
    CHECK(cached.session->traffic().cache_bytes <= bound);
  }
  cached.read(0, 40 * page_size);
  CHECK(cached.session->traffic().cache_bytes_peak <= bound);
  cached.session->flush();
  if (access == Access::write) CHECK(cached.daemon_has_all());
}

TEST_CASE("discard drops what was written and grown, sent or not") {
  Cached cached{Access::write, Publish::on_flush, 4 * page_size};
  const auto original = cached.model;
  cached.image.before = [&](FakePeer&, const Request& request) {
    if (request.header.operation == Operation::discard) cached.image.bytes = original;
    return false;
  };
  cached.session->grow(2);
  cached.model.resize(cached.model.size() + 2 * page_size);
  for (std::uint64_t page = 30; page < 42; ++page) cached.write(page * page_size, pattern(page_size, 77));
  CHECK(cached.session->pages() == 42);
  cached.session->discard();
  cached.model = original;
  CHECK(cached.session->pages() == 40);
  cached.read(30 * page_size, 10 * page_size);
  CHECK(errc_of([&] { cached.read(40 * page_size, 1); }) == Errc::out_of_bounds);
}

TEST_CASE("a pin that moves on drops exactly what changed") {
  Cached cached{Access::read};
  cached.read(0, 3 * page_size);
  CHECK(cached.count(Operation::read) == 3);
  cached.image.bytes[15] ^= std::byte{1};
  cached.model[15] ^= std::byte{1};
  const auto refreshed = cached.session->refresh();
  REQUIRE(refreshed.changed == std::vector<ByteRange>{{10, 20}});
  cached.read(0, 3 * page_size);
  CHECK(cached.count(Operation::read) == 4);
}

TEST_CASE("a pin that moves on to where everything may differ drops everything") {
  Cached cached{Access::read};
  cached.image.before = [](FakePeer& peer, const Request& request) {
    if (request.header.operation != Operation::refresh) return false;
    proto::RefreshAnswer answer;
    answer.pages = 40;
    answer.version = {9, 2};
    answer.everything = true;
    peer.answer(request, answer);
    return true;
  };
  cached.read(0, 3 * page_size);
  cached.session->refresh();
  cached.read(0, 3 * page_size);
  CHECK(cached.count(Operation::read) == 6);
}

TEST_CASE("after the notice that the lease is lost nothing is served from the cache") {
  std::atomic<bool> told{false};
  const auto publish = GENERATE(Publish::on_write, Publish::on_flush);
  Cached cached{Access::write, publish, 64 * page_size, 4, [&](FakePeer& peer, const Request& request) {
                  if (request.header.operation != Operation::stat) return false;
                  peer.notice(Operation::lease_lost, proto::Status::lease_lost, "taken");
                  told = true;
                  return false;
                }};
  cached.read(0, page_size);
  (void)cached.session->stat();  // the notice comes before its answer
  REQUIRE(told);
  proto::Bytes bytes(8);
  CHECK(errc_of([&] { cached.session->read(0, bytes); }) == Errc::lease_lost);
  CHECK(errc_of([&] { cached.session->write(0, bytes); }) == Errc::lease_lost);
  CHECK(errc_of([&] { cached.session->grow(1); }) == Errc::lease_lost);
  CHECK(errc_of([&] { (void)cached.session->pages(); }) == Errc::lease_lost);
  CHECK(errc_of([&] { cached.session->flush(); }) == Errc::lease_lost);
}

TEST_CASE("a notice that nobody waits for ends cached reads soon") {
  // The daemon speaks unasked: only a look at the socket tells.
  FakeDaemon daemon{[&](FakePeer& peer) {
    peer.greet({}, 4);
    const auto read = peer.expect(Operation::read);
    proto::Bytes both;
    proto::encode(both, read.header.request_id, proto::ReadAnswer{pattern(page_size)});
    peer.send(both);
    peer.notice(Operation::lease_lost, proto::Status::lease_lost, "taken");
    peer.wait_for_end();
  }};
  auto options = daemon.options();
  options.cache_bytes = 64 * page_size;
  RemoteProvider session{options};
  proto::Bytes bytes(8);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  std::optional<Errc> lost;
  while (!lost && std::chrono::steady_clock::now() < until) {
    try {
      session.read(0, bytes);
    } catch (const MemoryError& error) {
      lost = error.errc();
    }
  }
  CHECK(lost == Errc::lease_lost);
}

TEST_CASE("an error that the daemon answers to what was kept back is the flush's, and nothing is lost by it") {
  std::atomic<bool> full{true};
  const bool has_commit = GENERATE(true, false);
  Cached cached{Access::write,
                Publish::on_flush,
                64 * page_size,
                8,
                [&](FakePeer& peer, const Request& request) {
                  if (request.header.operation != Operation::write || !full) return false;
                  if (request.as<proto::WriteRequest>().offset < 6 * page_size + 30'000) return false;
                  peer.error(request, proto::Status::no_space, "write: the disk is full");
                  return true;
                },
                has_commit ? proto::features_all : proto::feature_zero};
  cached.read(0, 8 * page_size);
  cached.rewrite(1, 10, 10);
  cached.rewrite(6, 10, 10);
  cached.rewrite(6, 40'000, 10);
  CHECK(errc_of([&] { cached.session->flush(); }) == Errc::no_space);
  CHECK(cached.image.published() == 0);  // half a transaction is never published
  CHECK(cached.count(Operation::flush) == 0);
  CHECK(cached.count(Operation::commit) == (has_commit ? 1 : 0));
  cached.read(0, 8 * page_size);
  cached.rewrite(6, 10, 10);  // back to what it was, of which the daemon took half: it has to be told
  full = false;
  cached.session->flush();
  CHECK(cached.count(Operation::flush) == 1);
  CHECK(cached.image.published() == 1);
  CHECK(cached.daemon_has_all());
  cached.rewrite(1, 10, 10);
  const auto before = cached.session->traffic().round_trips;
  cached.session->flush();
  CHECK(cached.session->traffic().round_trips - before == (has_commit ? 1 : 2));
  CHECK(cached.daemon_has_all());
}

TEST_CASE("a change that failed when room was needed does not keep the next flush from publishing what came of it") {
  std::atomic<bool> full{true};
  Cached cached{Access::write, Publish::on_flush, 4 * page_size, 12, [&](FakePeer& peer, const Request& request) {
                  if (request.header.operation != Operation::write || !full) return false;
                  peer.error(request, proto::Status::no_space, "write: the disk is full");
                  return true;
                }};
  const auto data = pattern(page_size, 9);
  std::uint64_t page = 0;
  Errc failed{};
  // A write that is refused for lack of room has not been made.
  while (failed != Errc::no_space) {
    REQUIRE(page < 12);
    try {
      cached.session->write(page * page_size, data);
      std::copy(data.begin(), data.end(), cached.model.begin() + static_cast<std::ptrdiff_t>(page++ * page_size));
    } catch (const MemoryError& error) {
      failed = error.errc();
    }
  }
  CHECK(page >= 2);
  full = false;
  cached.session->flush();
  CHECK(cached.daemon_has_all());
  CHECK(cached.count(Operation::commit) == 1);
  CHECK(cached.count(Operation::flush) == 1);
  CHECK(cached.image.published() == 1);
}

TEST_CASE("pages written one after the other go out while the next is written, and a flush is one round trip still") {
  const bool has_commit = GENERATE(true, false);
  const Access access = GENERATE(Access::write, Access::fork);
  Cached cached{access, access == Access::write ? Publish::on_flush : Publish::on_write, 64 * page_size, 40,
                {},     has_commit ? proto::features_all : proto::feature_zero};
  const auto data = pattern(page_size, 3);
  for (std::uint64_t page = 4; page < 12; ++page)
    for (std::size_t at = 0; at < page_size; at += 16 * kib)
      cached.write(page * page_size + at, std::span{data}.subspan(at, 16 * kib));
  CHECK(cached.session->traffic().requests >= 2 + 7);  // all but the last, behind hello and open
  CHECK(cached.image.published() == 0);
  const auto before = cached.session->traffic();
  // Written again before it is flushed: what differs goes out once more.
  cached.rewrite(5, 100, 10);
  cached.read(6 * page_size, 100);
  cached.session->flush();
  if (access == Access::fork) {
    (void)cached.session->data_ranges(0, page_size);  // which has all sent
  } else {
    CHECK(cached.image.published() == 1);
    if (has_commit) CHECK(cached.session->traffic().round_trips - before.round_trips <= 2);
  }
  CHECK(cached.session->traffic().bytes_sent - before.bytes_sent < page_size + 2 * kib);
  CHECK(cached.daemon_has_all());
}

TEST_CASE("pages that were read, or grown, or are written here and there, wait for the flush") {
  Cached cached{Access::write, Publish::on_flush};
  cached.read(0, 4 * page_size);
  for (std::uint64_t page = 0; page < 4; ++page) cached.rewrite(page, 5, 5);
  const auto data = pattern(page_size, 3);
  for (const std::uint64_t page : {9u, 8u, 12u, 10u}) cached.write(page * page_size, data);
  cached.read(20 * page_size, 1);  // a round trip later
  CHECK(cached.count(Operation::write) == 0);
  cached.session->flush();
  CHECK(cached.daemon_has_all());
}

TEST_CASE("a page that was sent ahead and refused is sent again by the flush, which publishes all or nothing") {
  const bool has_commit = GENERATE(true, false);
  std::atomic<int> refusals{GENERATE(1, 100)};
  const bool stays = refusals > 1;
  Cached cached{Access::write,
                Publish::on_flush,
                64 * page_size,
                40,
                [&](FakePeer& peer, const Request& request) {
                  if (request.header.operation != Operation::write) return false;
                  if (request.as<proto::WriteRequest>().offset != 3 * page_size || refusals == 0) return false;
                  --refusals;
                  peer.error(request, proto::Status::no_space, "write: the disk is full");
                  return true;
                },
                has_commit ? proto::features_all : proto::feature_zero};
  const auto data = pattern(page_size, 3);
  for (std::uint64_t page = 2; page < 8; ++page) cached.write(page * page_size, data);
  if (stays) {
    CHECK(errc_of([&] { cached.session->flush(); }) == Errc::no_space);
    CHECK(cached.image.published() == 0);
    refusals = 0;
  }
  cached.session->flush();
  CHECK(cached.image.published() == 1);
  CHECK(cached.daemon_has_all());
  // As if nothing had been.
  cached.rewrite(3, 10, 10);
  cached.session->flush();
  CHECK(cached.image.published() == 2);
  CHECK(cached.daemon_has_all());
}

TEST_CASE("what was sent ahead is dropped by discard, and made zero by zero") {
  Cached cached{Access::write, Publish::on_flush};
  const auto data = pattern(page_size, 3);
  for (std::uint64_t page = 2; page < 8; ++page) cached.write(page * page_size, data);
  SECTION("zero") {
    cached.session->zero(2 * page_size, 3 * page_size);
    std::fill_n(cached.model.begin() + 2 * page_size, 3 * page_size, std::byte{0});
    cached.read(2 * page_size, 6 * page_size);
    cached.session->flush();
    CHECK(cached.daemon_has_all());
  }
  SECTION("discard") {
    cached.session->discard();
    CHECK(cached.count(Operation::discard) == 1);
    CHECK(cached.count(Operation::write) == 5);
    cached.session->flush();
    CHECK(cached.count(Operation::write) == 5);
  }
}

TEST_CASE("a transaction larger than the cache goes out in parts, and the last of it with the commit") {
  Cached cached{Access::write, Publish::on_flush, 8 * page_size, 40};
  for (std::uint64_t page = 0; page < 30; ++page) cached.write(page * page_size, pattern(page_size, 3));
  CHECK(cached.image.published() == 0);
  const auto before = cached.session->traffic().round_trips;
  cached.session->flush();
  CHECK(cached.session->traffic().round_trips - before == 1);
  CHECK(cached.image.published() == 1);
  CHECK(cached.daemon_has_all());
}

TEST_CASE("more changes than may be in flight are committed in one call, the commit behind all of them") {
  FakeImage image;
  image.bytes = pattern(40 * page_size);
  image.limits.requests_in_flight_max = 4;
  std::vector<Operation> order;
  image.before = [&](FakePeer&, const Request& request) {
    order.push_back(request.header.operation);
    return false;
  };
  FakeDaemon daemon{image};
  auto options = daemon.options();
  options.publish = Publish::on_flush;
  options.cache_bytes = 64 * page_size;
  RemoteProvider session{options};
  for (std::uint64_t page = 0; page < 40; ++page) session.write(page * page_size + 9, pattern(100, 5));
  order.clear();  // the daemon is idle between requests
  session.flush();
  CHECK(order.size() == 41);
  CHECK(order.back() == Operation::commit);
  CHECK(std::count(order.begin(), order.end(), Operation::write) == 40);
  CHECK(session.traffic().round_trips == 1);
  CHECK(image.published() == 1);
}

TEST_CASE("a commit that fails as a flush does leaves nothing in the cache") {
  const auto status = GENERATE(proto::Status::no_space, proto::Status::provider_error);
  std::atomic<bool> fails{true};
  Cached cached{Access::write, Publish::on_flush, 64 * page_size, 8, [&](FakePeer& peer, const Request& request) {
                  if (request.header.operation != Operation::commit || !fails) return false;
                  peer.error(request, status, "the disk is full");
                  return true;
                }};
  cached.read(0, 2 * page_size);
  cached.session->grow(1);
  cached.model.resize(9 * page_size);
  cached.rewrite(1, 10, 10);
  const auto reads = cached.count(Operation::read);
  CHECK(errc_of([&] { cached.session->flush(); }) ==
        (status == proto::Status::no_space ? Errc::no_space : Errc::provider_error));
  CHECK(cached.count(Operation::flush) == 0);
  CHECK(cached.session->pages() == 9);
  CHECK(cached.count(Operation::size) == 1);  // the daemon knows what there is
  cached.read(0, 2 * page_size);
  CHECK(cached.count(Operation::read) == reads + 2);
  fails = false;
  cached.rewrite(1, 20, 10);
  cached.session->flush();
  CHECK(cached.image.published() == 1);
  CHECK(cached.daemon_has_all());
}

TEST_CASE("a change's error is the flush's, whatever comes first: it or the commit's refusal") {
  FakeDaemon daemon{[&](FakePeer& peer) {
    peer.greet({}, 4);
    const auto write = peer.expect(Operation::write);
    const auto commit = peer.expect(Operation::commit);
    // Answers may come in any order.
    peer.error(commit, proto::Status::invalid_argument, "commit: a write was refused");
    peer.error(write, proto::Status::no_space, "write: the disk is full");
    peer.answer(peer.expect(Operation::write), proto::WriteAnswer{});
    peer.answer(peer.expect(Operation::commit), proto::CommitAnswer{});
    peer.wait_for_end();
  }};
  auto options = daemon.options();
  options.publish = Publish::on_flush;
  options.cache_bytes = 64 * page_size;
  RemoteProvider session{options};
  session.write(5, pattern(10));
  CHECK(errc_of([&] { session.flush(); }) == Errc::no_space);
  session.flush();
}

TEST_CASE("a connection that ends behind a commit leaves a session that says so") {
  FakeDaemon daemon{[&](FakePeer& peer) {
    peer.greet({}, 4);
    peer.answer(peer.expect(Operation::write), proto::WriteAnswer{});
    (void)peer.expect(Operation::commit);
    peer.close();
  }};
  auto options = daemon.options();
  options.publish = Publish::on_flush;
  options.cache_bytes = 64 * page_size;
  RemoteProvider session{options};
  session.write(5, pattern(10));
  CHECK(errc_of([&] { session.flush(); }) == Errc::connection_lost);
  CHECK(errc_of([&] { session.flush(); }) == Errc::connection_lost);
  CHECK(errc_of([&] { session.write(5, pattern(10)); }) == Errc::connection_lost);
}

TEST_CASE("bounds and rights are known without asking") {
  Cached reader{Access::read};
  const auto before = reader.session->traffic().requests;
  proto::Bytes bytes(100);
  CHECK(errc_of([&] { reader.session->write(0, bytes); }) == Errc::read_only);
  CHECK(errc_of([&] { reader.session->read(40 * page_size - 50, bytes); }) == Errc::out_of_bounds);
  CHECK(reader.session->traffic().requests == before);
  Cached writer{Access::write, Publish::on_flush};
  CHECK(errc_of([&] { writer.session->write(40 * page_size - 50, bytes); }) == Errc::out_of_bounds);
  CHECK(writer.session->traffic().requests == 1 + 1);
}

TEST_CASE("threads that share a cached session see one memory") {
  Cached cached{Access::write, Publish::on_flush, 6 * page_size, 24};
  std::vector<std::thread> threads;
  std::atomic<bool> wrong{false};
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      // Each its own places in all of the pages.
      for (std::size_t i = 0; i < 200; ++i) {
        const auto offset = (i * 5 + t) % 24 * page_size + t * 1000;
        const auto data = pattern(500, static_cast<unsigned>(i * 4 + t));
        proto::Bytes back(500);
        cached.session->write(offset, data);
        cached.session->read(offset, back);
        if (back != data) wrong = true;
        if (i % 50 == 0) cached.session->flush();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(wrong);
}
