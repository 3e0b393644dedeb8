// The index against a model that keeps every version whole.
#include "storage/log/log_index.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using namespace storage;

/// For each byte, which log position it comes from: as a version sees it.
using Model = std::vector<std::uint64_t>;
constexpr std::uint64_t from_image = ~0ull - 1;
constexpr std::uint64_t pages = 6;

Model seen(LogIndex& index, std::uint64_t version, const Model& image) {
  Model bytes = image;
  for (std::uint64_t page = 0; page < pages; ++page) {
    std::vector<Piece> pieces;
    index.pieces_at(page, version, 0, static_cast<std::uint32_t>(page_size), pieces);
    std::uint32_t end = 0;
    for (const Piece& piece : pieces) {
      REQUIRE(piece.begin >= end);
      REQUIRE(piece.begin < piece.end);
      end = piece.end;
      for (std::uint64_t i = 0; i < piece.end - piece.begin; ++i)
        bytes[page * page_size + piece.begin + i] = piece.zero() ? no_position : piece.position + i;
    }
  }
  return bytes;
}

/// An index of which these versions are held.
LogIndex held_by(const std::set<std::uint64_t>& holders) {
  return LogIndex{[&holders](std::uint64_t from, std::uint64_t until) {
    const auto holder = holders.lower_bound(from);
    return holder != holders.end() && *holder < until;
  }};
}

}  // namespace

TEST_CASE("log index: holders, the newest version and checkpoints see what a whole copy of each version has") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  std::set<std::uint64_t> holders;
  LogIndex index = held_by(holders);
  Model image(pages * page_size, from_image);
  std::map<std::uint64_t, Model> versions{{1, image}};
  std::uint64_t version = 1;
  std::uint64_t position = 0;
  for (int step = 0; step < 150; ++step) {
    const auto what = random() % 10;
    if (what < 6) {
      const std::uint64_t offset = random() % (pages * page_size);
      const std::uint64_t length =
          std::min<std::uint64_t>(1 + random() % (random() % 3 == 0 ? 300000 : 300), pages * page_size - offset);
      const bool zero = random() % 4 == 0;
      Model next = versions.rbegin()->second;
      for (std::uint64_t i = 0; i < length; ++i) next[offset + i] = zero ? no_position : position + i;
      ++version;
      index.add(offset, length, version, zero ? no_position : position, nullptr);
      position += length;
      versions[version] = std::move(next);
      if (holders.count(version - 1) == 0) versions.erase(version - 1);
    } else if (what < 8) {
      holders.insert(version);
    } else if (what == 8 && !holders.empty()) {
      const auto gone = std::next(holders.begin(), static_cast<std::ptrdiff_t>(random() % holders.size()));
      if (*gone != version) versions.erase(*gone);
      holders.erase(gone);
    } else {
      // What a checkpoint leaves: the image as the oldest holder sees it.
      const std::uint64_t reachable = holders.empty() ? version : *holders.begin();
      image = seen(index, reachable, image);
      REQUIRE(image == versions[reachable]);
      for (std::uint64_t page = 0; page != no_position;) page = index.drop_until(reachable, page, 1);
    }
    for (std::uint64_t page = index.next_page(0); page != no_position;) {
      const std::uint64_t until = index.alike_until(page);
      REQUIRE(until > page);
      REQUIRE(until <= pages);
      page = index.next_page(until);
    }
    for (const auto& [number, expected] : versions) REQUIRE(seen(index, number, image) == expected);
  }
}

TEST_CASE("log index: thousands of pages, in any order, with zeros over many of them and checkpoints between") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  constexpr std::uint64_t page_count = 10'000;
  constexpr std::uint64_t cell_bytes = 8;
  constexpr std::uint64_t cells = 4;  // of each page, at its quarters
  const auto begin_of = [](std::uint64_t cell) { return cell * page_size / cells; };
  LogIndex index;
  std::map<std::uint64_t, std::uint64_t> expected;  // by page and cell: position, or no_position for zeros
  std::uint64_t version = 1;
  for (int step = 0; step < 60'000; ++step) {
    ++version;
    const std::uint64_t page = random() % page_count;
    const auto what = random() % 2000;
    if (what == 0) {
      const std::uint64_t end = std::min(page_count, page + 1 + random() % 300);
      index.add(page * page_size, (end - page) * page_size, version, no_position, nullptr);
      for (std::uint64_t cell = page * cells; cell < end * cells; ++cell) expected[cell] = no_position;
    } else if (what == 1) {
      for (std::uint64_t from = page; from != no_position;) from = index.drop_until(version, from, 16);
      expected.erase(expected.lower_bound(page * cells), expected.end());
    } else {
      const std::uint64_t cell = random() % cells;
      const std::uint64_t position = static_cast<std::uint64_t>(step) * cell_bytes;
      index.add(page * page_size + begin_of(cell), cell_bytes, version, position, nullptr);
      expected[page * cells + cell] = position;
    }
  }
  std::map<std::uint64_t, std::uint64_t> found;
  for (std::uint64_t page = 0; page < page_count; ++page) {
    for (std::uint64_t cell = 0; cell < cells; ++cell) {
      std::vector<Piece> pieces;
      const auto begin = static_cast<std::uint32_t>(begin_of(cell));
      index.pieces_at(page, version, begin, begin + 1, pieces);
      if (!pieces.empty()) found[page * cells + cell] = pieces.front().position;
    }
  }
  const bool same = found == expected;
  CHECK(same);
}

TEST_CASE("log index: hundreds of small pieces of a page that is seldom looked at, and who holds what of it") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  std::set<std::uint64_t> holders;
  LogIndex index = held_by(holders);
  // Few overlaps in one run, nearly nothing else in another.
  const std::uint64_t width = GENERATE(std::uint64_t{65536}, std::uint64_t{600});
  Model image(pages * page_size, from_image);
  Model newest = image;
  std::map<std::uint64_t, Model> held;
  std::uint64_t version = 1;
  for (int step = 0; step < 6000; ++step) {
    const std::uint64_t length = 1 + random() % 40;
    const std::uint64_t offset = (random() % 2) * page_size + random() % (width - 40);
    const bool zero = random() % 5 == 0;
    ++version;
    index.add(offset, length, version, zero ? no_position : version * 100, nullptr);
    for (std::uint64_t i = 0; i < length; ++i) newest[offset + i] = zero ? no_position : version * 100 + i;
    const auto what = random() % 800;
    if (what < 2) {
      holders.insert(version);
      held[version] = newest;
    } else if (what == 2 && !holders.empty()) {
      held.erase(*holders.rbegin());
      holders.erase(*holders.rbegin());
    } else if (what == 3) {
      index.add(0, 2 * page_size, ++version, no_position, nullptr);
      std::fill_n(newest.begin(), 2 * page_size, no_position);
    } else if (what == 4) {
      const std::uint64_t reachable = holders.empty() ? version : *holders.begin();
      image = holders.empty() ? newest : held[reachable];
      for (std::uint64_t page = 0; page != no_position;) page = index.drop_until(reachable, page, 1);
    } else if (what == 5) {
      std::vector<ByteRange> ranges;
      REQUIRE(index.changed_since(version - 1, version, 10, ranges));
      REQUIRE(ranges.size() <= 1);  // none: a checkpoint has it
    }
    if (random() % 500 != 0) continue;
    REQUIRE((seen(index, version, image) == newest));
    for (const auto& [number, expected] : held) REQUIRE((seen(index, number, image) == expected));
  }
  holders.clear();
  for (std::uint64_t page = 0; page != no_position;) page = index.drop_until(version, page, 1);
  CHECK(index.empty());
  CHECK(index.piece_count() == 0);
}

TEST_CASE("log index: what it grew by counts all that was ever added, in order or not yet") {
  LogIndex index;
  for (std::uint64_t at = 0; at < 1000; ++at) index.add(at * 7919 % 65521, 1, at + 2, at * 10, nullptr);
  const std::uint64_t grown = index.grown_bytes();
  CHECK(grown == index.memory_bytes());
  CHECK(grown >= 1000 * LogIndex::piece_memory_bytes);
  std::vector<Piece> pieces;
  index.pieces_at(0, 2000, 0, static_cast<std::uint32_t>(page_size), pieces);
  CHECK(pieces.size() == 1000);
  CHECK(index.grown_bytes() == grown);
  index.drop_until(2000, 0, 100);
  CHECK(index.memory_bytes() == 0);
  CHECK(index.grown_bytes() == grown);
}

TEST_CASE("log index: what changed since a holder's version is named, adjoining ranges as one") {
  LogIndex index{[](std::uint64_t from, std::uint64_t until) { return from <= 2 && 2 < until; }};
  index.add(10, 10, 2, 0, nullptr);
  index.add(page_size - 5, 10, 3, 100, nullptr);
  index.add(20, 10, 4, 200, nullptr);
  std::vector<ByteRange> ranges;
  CHECK(index.changed_since(2, 99, 10, ranges));
  CHECK(ranges == std::vector<ByteRange>{{20, 10}, {page_size - 5, 10}});
  ranges.clear();
  CHECK_FALSE(index.changed_since(1, 99, 1, ranges));
  CHECK(index.next_page(0) == 0);
  CHECK(index.next_page(1) == 1);
  CHECK(index.next_page(2) == no_position);
  CHECK(index.piece_count() == 4);
  index.drop_until(4, 0, 100);
  CHECK(index.empty());
  CHECK(index.piece_count() == 0);
}

TEST_CASE("log index: what changed up to a version leaves out what a later one put there already") {
  LogIndex index{[](std::uint64_t from, std::uint64_t until) { return from <= 4 && 4 < until; }};
  index.add(10, 10, 3, 0, nullptr);
  index.add(100, 50, 4, 100, nullptr);
  index.add(2 * page_size, 2 * page_size, 4, no_position, nullptr);
  // Of a version that is not visible yet: over the middle of a change, on untouched bytes, in pages past the end.
  index.add(110, 20, 5, 200, nullptr);
  index.add(500, 10, 5, 300, nullptr);
  index.add(3 * page_size + 7, 9, 5, 400, nullptr);
  index.add(9 * page_size, 8, 5, 500, nullptr);
  std::vector<ByteRange> ranges;
  CHECK(index.changed_since(3, 4, 10, ranges));
  CHECK(ranges == std::vector<ByteRange>{{100, 50}, {2 * page_size, 2 * page_size}});
  ranges.clear();
  CHECK(index.changed_since(4, 4, 10, ranges));
  CHECK(ranges.empty());
  CHECK(index.changed_since(4, 5, 10, ranges));
  CHECK(ranges == std::vector<ByteRange>{{110, 20}, {500, 10}, {3 * page_size + 7, 9}, {9 * page_size, 8}});
}

TEST_CASE("log index: zeros over any number of pages are one entry, and so is what is left of them") {
  LogIndex index;
  constexpr std::uint64_t many = 1ull << 30;  // 64 TiB
  index.add(5, 3, 2, 0, nullptr);
  index.add(0, many * page_size, 3, no_position, nullptr);
  CHECK(index.piece_count() == 1);
  CHECK(index.alike_until(0) == many);
  CHECK(index.alike_until(many / 2) == many);
  std::vector<Piece> pieces;
  index.pieces_at(many - 1, 3, 10, 20, pieces);
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0].zero());
  CHECK(pieces[0].begin == 10);
  CHECK(pieces[0].end == 20);
  index.add(1000 * page_size + 7, 1, 4, 500, nullptr);
  CHECK(index.piece_count() == 5);  // before, in three parts, after
  CHECK(index.alike_until(0) == 1000);
  CHECK(index.alike_until(1000) == 1001);
  CHECK(index.alike_until(1001) == many);
  std::vector<ByteRange> ranges;
  CHECK(index.changed_since(2, 99, 10, ranges));
  CHECK(ranges == std::vector<ByteRange>{{0, many * page_size}});
  index.add(0, many * page_size, 5, no_position, nullptr);
  CHECK(index.piece_count() == 1);
  CHECK(index.drop_until(5, 7, 1) == no_position);
  CHECK(index.empty());
}

TEST_CASE("log index: how far pages have so many pieces, at least one entry") {
  LogIndex index;
  CHECK(index.reach(0, 100, 1) == 100);
  for (std::uint64_t page = 10; page < 20; ++page)
    for (std::uint64_t piece = 0; piece < page; ++piece)
      index.add(page * page_size + piece * 16, 8, 1 + page * 100 + piece, 0, nullptr);
  CHECK(index.reach(0, 100, 10) == 11);
  CHECK(index.reach(10, 100, 21) == 12);
  CHECK(index.reach(19, 100, 1) == 100);
  CHECK(index.reach(12, 15, 1000) == 15);
  CHECK(index.reach(12, 15, 1) == 13);
  index.add(30 * page_size, 40 * page_size, 9999, no_position, nullptr);
  CHECK(index.reach(35, 60, 1) == 60);
}

TEST_CASE("log index: old pieces that nobody needs any more go, whoever still holds others") {
  std::uint64_t moving = 0;  // a second holder, who moves on after each change
  LogIndex index{[&](std::uint64_t from, std::uint64_t until) {
    return (from <= 2 && 2 < until) || (from <= moving && moving < until);
  }};
  index.add(0, 100, 2, 0, nullptr);
  for (std::uint64_t version = 3; version < 10'000; ++version) {
    index.add(0, 100, version, version * 1000, nullptr);
    moving = version;
  }
  CHECK(index.piece_count() < 50);
  std::vector<Piece> pieces;
  index.pieces_at(0, 2, 0, 100, pieces);
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0].version == 2);
}

}  // namespace pageserver::test
