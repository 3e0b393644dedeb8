// Pages in memory: what differs, what goes first, how much there may be.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "client/session/page_cache.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using pageserver::test::pattern;

namespace {

constexpr std::size_t no_limit = 1u << 20;

std::vector<PageRange> ranges_of(const proto::Bytes& now, const proto::Bytes& before, std::size_t most = no_limit) {
  return differing_ranges(now, before, most);
}

}  // namespace

TEST_CASE("equal pages differ nowhere, and one byte is a range of one") {
  auto before = pattern(page_size);
  auto now = before;
  CHECK(ranges_of(now, before).empty());
  for (const std::size_t at : {std::size_t{0}, std::size_t{255}, std::size_t{256}, std::size_t{page_size - 1}}) {
    now = before;
    now[at] ^= std::byte{1};
    CHECK(ranges_of(now, before) == std::vector<PageRange>{{at, 1}});
  }
}

TEST_CASE("ranges that are close are one, and those that are far are two") {
  const auto before = pattern(page_size);
  auto now = before;
  now[1000] ^= std::byte{1};
  now[1040] ^= std::byte{1};
  now[9000] ^= std::byte{1};
  CHECK(ranges_of(now, before) == std::vector<PageRange>{{1000, 41}, {9000, 1}});
}

TEST_CASE("no page has more ranges than allowed, whatever changed") {
  const auto before = pattern(page_size);
  auto now = before;
  for (std::size_t at = 0; at < now.size(); at += 300) now[at] ^= std::byte{1};
  CHECK(ranges_of(now, before).size() > 16);
  const auto few = ranges_of(now, before, 16);
  CHECK(few.size() <= 16);
  CHECK(few.front().begin == 0);
  CHECK(few.back().begin + few.back().length == (page_size - 1) / 300 * 300 + 1);
}

TEST_CASE("what the ranges say, put over the page as it was, is the page as it is") {
  std::mt19937 random{7};
  for (int round = 0; round < 50; ++round) {
    const auto before = pattern(page_size, static_cast<unsigned>(round));
    auto now = before;
    for (auto change = random() % 40; change > 0; --change) {
      const auto begin = random() % page_size;
      const auto length = std::min<std::size_t>(1 + random() % 500, page_size - begin);
      for (std::size_t i = 0; i < length; ++i) now[begin + i] = static_cast<std::byte>(random());
    }
    auto made = before;
    std::size_t end = 0;
    for (const auto& range : ranges_of(now, before, 16)) {
      CHECK(range.begin >= end);
      end = range.begin + range.length;
      std::copy_n(now.begin() + static_cast<std::ptrdiff_t>(range.begin), range.length,
                  made.begin() + static_cast<std::ptrdiff_t>(range.begin));
    }
    CHECK((made == now));
  }
}

TEST_CASE("without a page before, zeros are what it is compared with") {
  proto::Bytes now(page_size);
  CHECK(ranges_of(now, {}).empty());
  now[5000] = std::byte{1};
  CHECK(ranges_of(now, {}) == std::vector<PageRange>{{5000, 1}});
}

TEST_CASE("the least recently used page goes first, and what was kept stays") {
  PageCache cache{3 * page_size};
  for (const std::uint64_t number : {1u, 2u, 3u}) cache.add(number);
  CHECK(cache.find(1) != nullptr);
  CHECK(cache.make_room(1, nullptr));
  CHECK(cache.peek(2) == nullptr);
  CHECK(cache.make_room(2, cache.peek(3)));
  CHECK(cache.peek(1) == nullptr);
  CHECK(cache.peek(3) != nullptr);
  CHECK(cache.bytes() == page_size);
  CHECK(cache.bytes_peak() == 3 * page_size);
}

TEST_CASE("a dirty page makes no room until it is clean, and its copy counts as memory") {
  PageCache cache{2 * page_size};
  auto& page = cache.add(7);
  std::fill(page.all().begin(), page.all().end(), std::byte{4});
  cache.keep_as_it_was(page);
  page.bytes[100] = std::byte{5};
  CHECK(cache.bytes() == 2 * page_size);
  CHECK_FALSE(cache.make_room(1, nullptr));
  CHECK(cache.dirty() == std::vector<CachedPage*>{&page});
  CHECK(page.unsent() == std::vector<PageRange>{{100, 1}});
  cache.mark_clean(page);
  CHECK(page.unsent().empty());
  CHECK(cache.bytes() == page_size);
  CHECK(cache.make_room(2, nullptr));
  CHECK(cache.peek(7) == nullptr);
}

TEST_CASE("a page that was written without being read sends what is known, and takes the rest from beneath") {
  PageCache cache{4 * page_size};
  auto& page = cache.add(0);
  page.dirty = true;
  page.known_begin = 10;
  page.known_end = 20;
  std::fill_n(page.bytes.get() + 10, 10, std::byte{9});
  CHECK(page.unsent() == std::vector<PageRange>{{10, 10}});
  CHECK(page.knows(10, 10));
  CHECK_FALSE(page.knows(9, 2));
  cache.add_base(page);
  const auto base = pattern(page_size);
  std::copy(base.begin(), base.end(), page.base.get());
  page.complete_from_base();
  CHECK(page.is_complete());
  auto expected = base;
  std::fill_n(expected.begin() + 10, 10, std::byte{9});
  CHECK(std::equal(expected.begin(), expected.end(), page.bytes.get()));
  CHECK(page.unsent().front().begin >= 10);
}

TEST_CASE("ranges of the image drop exactly the pages that they touch") {
  PageCache cache{16 * page_size};
  for (std::uint64_t number = 0; number < 8; ++number) cache.add(number);
  cache.drop_range(2 * page_size - 1, 2);
  cache.drop_range(5 * page_size, page_size);
  cache.drop_range(7 * page_size, 0);
  std::vector<std::uint64_t> left;
  for (std::uint64_t number = 0; number < 8; ++number)
    if (cache.peek(number) != nullptr) left.push_back(number);
  CHECK(left == std::vector<std::uint64_t>{0, 3, 4, 6, 7});
  cache.drop_range(0, 1ull << 60);
  CHECK(cache.bytes() == 0);
}

TEST_CASE("memory of pages that are gone is kept for the next ones, as far as the cache may have it") {
  PageCache cache{64 * page_size};
  for (std::uint64_t number = 0; number < 8; ++number) cache.add(number);
  for (std::uint64_t number = 0; number < 8; ++number) cache.drop(number);
  CHECK(cache.spare_bytes() == 8 * page_size);
  cache.add(1);
  CHECK(cache.spare_bytes() == 7 * page_size);
  cache.clear();
  CHECK(cache.spare_bytes() == 0);

  PageCache small{3 * page_size};
  for (std::uint64_t number = 0; number < 3; ++number) small.add(number);
  small.keep_as_it_was(small.add(3));  // more than it may have, for a moment
  for (std::uint64_t number = 0; number < 4; ++number) {
    small.drop(number);
    CHECK(small.bytes() + small.spare_bytes() <= 3 * page_size + (number == 0 ? page_size : 0));
  }
  CHECK(small.spare_bytes() == 3 * page_size);
}
