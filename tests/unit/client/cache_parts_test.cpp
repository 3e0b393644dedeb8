// The parts of a cached session, each for itself: transfers, what comes in, what goes out.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <functional>

#include "client/session/page_reader.hpp"
#include "client/session/page_writer.hpp"
#include "tests/support/errors.hpp"
#include "tests/unit/client/fake_daemon.hpp"

using namespace pageserver;
using namespace pageserver::client;
using namespace pageserver::test;
using proto::Operation;

namespace {

/// The parts on an image of random-looking bytes, opened for on_flush.
struct Parts {
  explicit Parts(std::size_t cached_pages = 16, std::size_t pages = 32,
                 std::function<bool(FakePeer&, const Request&)> before = {})
      : cache{cached_pages * page_size} {
    image.bytes = pattern(pages * page_size);
    image.before = std::move(before);
    daemon.emplace(image);
    auto options = daemon->options(Access::write);
    options.publish = Publish::on_flush;
    plain.emplace(options);
    transfers.emplace(plain->shared(), cache);
    writer.emplace(*plain, cache, *transfers, std::size_t{4});
    reader.emplace(*plain, cache, *transfers, *writer, std::size_t{4});
  }
  ~Parts() {
    transfers->drain();
    plain->close();
  }

  std::uint64_t count(Operation operation) const { return image.count(operation); }
  bool is_image(std::uint64_t offset, std::span<const std::byte> bytes) const {
    return std::equal(bytes.begin(), bytes.end(), image.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  /// Adds a page and asks for its bytes; nobody waits.
  CachedPage& ask_for(std::uint64_t number) {
    auto& page = cache.add(number);
    page.known_begin = page.known_end = 0;
    plain->shared().run([&](Connection& connection, Batch&) { transfers->load(connection, page, nullptr); });
    return page;
  }
  bool write(std::uint64_t offset, std::span<const std::byte> data) {
    return writer->write_back(first_part(offset, data.size()), data.data());
  }

  FakeImage image;
  std::optional<FakeDaemon> daemon;
  std::optional<PlainSession> plain;
  PageCache cache;
  std::optional<PageTransfers> transfers;
  std::optional<PageWriter> writer;
  std::optional<PageReader> reader;
};

bool refuse_reads(FakePeer& peer, const Request& request) {
  if (request.header.operation != Operation::read) return false;
  peer.error(request, proto::Status::snapshot_too_old, "given up");
  return true;
}

}  // namespace

TEST_CASE("a page that is asked for is loading until somebody waits, and then complete") {
  Parts parts;
  auto& page = parts.ask_for(3);
  CHECK(page.loading);
  CHECK(parts.transfers->count() == 1);
  parts.transfers->wait_for(page);
  CHECK_FALSE(page.loading);
  CHECK(page.is_complete());
  CHECK(parts.transfers->count() == 0);
  CHECK(parts.is_image(3 * page_size, page.all()));
}

TEST_CASE("a drain ends all transfers, and what they failed with is not thrown") {
  Parts parts{16, 32, refuse_reads};
  auto& first = parts.ask_for(1);
  auto& second = parts.ask_for(2);
  CHECK(parts.transfers->count() == 2);
  parts.transfers->drain();
  CHECK(parts.transfers->count() == 0);
  CHECK_FALSE(first.loading);
  CHECK_FALSE(second.is_complete());
  CHECK_FALSE(second.knows(0, 1));
}

TEST_CASE("who waits for a page that can't be read gets the error") {
  Parts parts{16, 32, refuse_reads};
  auto& page = parts.ask_for(1);
  CHECK(errc_of([&] { parts.transfers->wait_for(page); }) == Errc::snapshot_too_old);
  CHECK_FALSE(page.loading);
}

TEST_CASE("a page sent ahead is clean once the daemon has taken it, and dirty when it was refused") {
  const bool refused = GENERATE(false, true);
  Parts parts{16, 32, [refused](FakePeer& peer, const Request& request) {
                if (!refused || request.header.operation != Operation::write) return false;
                peer.error(request, proto::Status::no_space, "full");
                return true;
              }};
  auto& page = parts.cache.add(5);
  std::fill(page.all().begin(), page.all().end(), std::byte{7});
  page.dirty = true;
  parts.transfers->send_ahead(page);
  parts.transfers->drain();
  CHECK_FALSE(page.sending);
  CHECK(page.dirty == refused);
  CHECK(parts.is_image(5 * page_size, page.all()) == !refused);
}

TEST_CASE("a read fetches the pages that are not here in one round trip, and copies the others") {
  Parts parts;
  proto::Bytes bytes(3 * page_size - 10);
  parts.reader->read(4 * page_size + 5, std::span{bytes}.first(1));
  CHECK(parts.count(Operation::read) == 1);
  parts.reader->read(4 * page_size + 5, bytes);
  CHECK(parts.is_image(4 * page_size + 5, bytes));
  CHECK(parts.count(Operation::read) == 3);
  CHECK(parts.reader->counters().misses == 3);
  CHECK(parts.reader->counters().hits == 1);
}

TEST_CASE("a read of more pages than a chunk goes past the cache, with what was not sent over it") {
  Parts parts;
  const proto::Bytes written(100, std::byte{9});
  REQUIRE(parts.write(6 * page_size + 50, written));
  proto::Bytes bytes(6 * page_size);
  parts.reader->read(4 * page_size, bytes);
  auto expected = proto::Bytes(parts.image.bytes.begin() + 4 * page_size, parts.image.bytes.begin() + 10 * page_size);
  std::copy(written.begin(), written.end(), expected.begin() + 2 * page_size + 50);
  CHECK((bytes == expected));
  CHECK(parts.cache.bytes() == page_size);
}

TEST_CASE("a page of which a part was written is read beneath it when it is needed whole") {
  Parts parts;
  const proto::Bytes written(100, std::byte{9});
  REQUIRE(parts.write(6 * page_size + 50, written));
  CHECK(parts.count(Operation::read) == 0);
  const auto& page = parts.reader->bring(6);
  CHECK(page.dirty);
  CHECK(page.has_before());
  CHECK(parts.is_image(6 * page_size, page.all().first(50)));
  CHECK(std::equal(written.begin(), written.end(), page.bytes.get() + 50));
  CHECK(parts.is_image(6 * page_size + 150, page.all().subspan(150)));
}

TEST_CASE("a write that does not adjoin what is known of its page wants the rest first, and writes nothing") {
  Parts parts;
  const proto::Bytes written(100, std::byte{9});
  REQUIRE(parts.write(6 * page_size + 50, written));
  CHECK(parts.write(6 * page_size + 150, written));
  CHECK_FALSE(parts.write(6 * page_size + 5000, written));
  const auto* const page = parts.cache.peek(6);
  REQUIRE(page != nullptr);
  CHECK(page->known_end == 250);
  (void)parts.reader->bring(6);
  CHECK(parts.write(6 * page_size + 5000, written));
}

TEST_CASE("what goes out of a page that was read is the difference, and of another one what is known") {
  Parts parts;
  (void)parts.reader->bring(2);
  const proto::Bytes changed(10, std::byte{9});
  REQUIRE(parts.write(2 * page_size + 1000, changed));
  REQUIRE(parts.write(8 * page_size + 1000, changed));
  const auto before = parts.plain->traffic();
  parts.writer->send_all();
  CHECK(parts.plain->traffic().bytes_sent - before.bytes_sent < 200);
  CHECK(parts.count(Operation::write) == 2);
  CHECK(parts.is_image(2 * page_size + 1000, changed));
  CHECK(parts.is_image(8 * page_size + 1000, changed));
  CHECK(parts.cache.dirty().empty());
}

TEST_CASE("bytes that change nothing make no page dirty") {
  Parts parts;
  (void)parts.reader->bring(2);
  const proto::Bytes same(parts.image.bytes.begin() + 2 * page_size, parts.image.bytes.begin() + 3 * page_size);
  CHECK(parts.write(2 * page_size, same));
  CHECK(parts.cache.dirty().empty());
}

TEST_CASE("room is made by sending when every page is dirty") {
  Parts parts{4};
  const proto::Bytes changed(10, std::byte{9});
  for (const std::uint64_t page : {1u, 5u, 9u, 13u, 17u}) REQUIRE(parts.write(page * page_size, changed));
  CHECK(parts.count(Operation::write) >= 1);
  CHECK(parts.cache.bytes() <= 4 * page_size);
}

TEST_CASE("whole pages written one after the other go out ahead of the flush") {
  Parts parts;
  proto::Bytes whole(page_size, std::byte{3});
  for (std::uint64_t page = 4; page < 7; ++page) REQUIRE(parts.write(page * page_size, whole));
  parts.transfers->drain();
  CHECK(parts.count(Operation::write) == 2);
  CHECK(parts.cache.dirty().size() == 1);
}

TEST_CASE("a commit goes out behind the changes, and not where there is nothing to send") {
  Parts parts;
  PageWriter::Commit nothing;
  parts.writer->send({}, &nothing);
  CHECK_FALSE(nothing.sent);
  REQUIRE(parts.write(page_size, proto::Bytes(10, std::byte{9})));
  PageWriter::Commit commit;
  parts.writer->send(parts.cache.dirty(), &commit);
  CHECK(commit.sent);
  CHECK_FALSE(commit.error);
  CHECK(parts.image.published() == 1);
}

TEST_CASE("grown pages are told once, before what lies in them") {
  Parts parts;
  auto& known = parts.plain->known();
  known.unsent_pages = 2;
  known.pages += 2;
  REQUIRE(parts.write(33 * page_size, proto::Bytes(10, std::byte{9})));
  CHECK(parts.count(Operation::grow) == 0);
  parts.writer->send_all();
  parts.writer->send_grown();
  CHECK(parts.count(Operation::grow) == 1);
  CHECK(known.unsent_pages == 0);
  CHECK(known.sent_pages() == 34);
  CHECK(parts.image.bytes.size() == 34 * page_size);
}
