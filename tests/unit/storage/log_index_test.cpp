// The index against a model that keeps every version whole.
#include "storage/log_index.hpp"

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
constexpr std::uint64_t pages = 3;

Model seen(const LogIndex& index, std::uint64_t version, const Model& image) {
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

}  // namespace

TEST_CASE("log index: holders, the newest version and checkpoints see what a whole copy of each version has") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  LogIndex index;
  Model image(pages * page_size, from_image);
  std::map<std::uint64_t, Model> versions{{1, image}};
  std::set<std::uint64_t> holders;
  std::uint64_t version = 1;
  std::uint64_t position = 0;
  for (int step = 0; step < 150; ++step) {
    const auto what = random() % 10;
    if (what < 6) {
      const std::uint64_t offset = random() % (pages * page_size);
      const std::uint64_t length =
          std::min<std::uint64_t>(1 + random() % (random() % 3 == 0 ? 70000 : 300), pages * page_size - offset);
      const bool zero = random() % 4 == 0;
      Model next = versions.rbegin()->second;
      for (std::uint64_t i = 0; i < length; ++i) next[offset + i] = zero ? no_position : position + i;
      ++version;
      index.add(offset, length, version, zero ? no_position : position, nullptr,
                holders.empty() ? 0 : *holders.rbegin());
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
    for (const auto& [number, expected] : versions) REQUIRE(seen(index, number, image) == expected);
  }
}

TEST_CASE("log index: what changed since a holder's version is named, adjoining ranges as one") {
  LogIndex index;
  index.add(10, 10, 2, 0, nullptr, 0);
  index.add(page_size - 5, 10, 3, 100, nullptr, 2);
  index.add(20, 10, 4, 200, nullptr, 2);
  std::vector<ByteRange> ranges;
  CHECK(index.changed_since(2, 10, ranges));
  CHECK(ranges == std::vector<ByteRange>{{20, 10}, {page_size - 5, 10}});
  ranges.clear();
  CHECK_FALSE(index.changed_since(1, 1, ranges));
  CHECK(index.next_page(0) == 0);
  CHECK(index.next_page(1) == 1);
  CHECK(index.next_page(2) == no_position);
  CHECK(index.piece_count() == 4);
  index.drop_until(4, 0, 100);
  CHECK(index.empty());
  CHECK(index.piece_count() == 0);
}

}  // namespace pageserver::test
