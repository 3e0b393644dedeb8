// When pages are asked for before they are needed, and how many.
#include "tests/support/catch.hpp"

#include "client/session/page_part.hpp"
#include "client/session/read_ahead.hpp"

using namespace pageserver;
using namespace pageserver::client;

namespace {

constexpr std::uint64_t many = 1000;

/// Reads `pages`, carrying out each wish; returns how many pages were asked for.
std::uint64_t read_on(ReadAhead& ahead, std::uint64_t first, std::uint64_t count, std::uint64_t daemon_pages = many) {
  std::uint64_t asked = 0;
  for (std::uint64_t page = first; page < first + count; ++page) {
    if (const auto wish = ahead.after_read(page, many, daemon_pages)) {
      asked += wish->until - wish->from;
      ahead.asked(*wish);
    }
  }
  return asked;
}

}  // namespace

TEST_CASE("nothing is asked for ahead until the third read in a row, then two pages") {
  ReadAhead ahead{16};
  CHECK_FALSE(ahead.after_read(10, many, many));
  CHECK_FALSE(ahead.after_read(11, many, many));
  const auto wish = ahead.after_read(12, many, many);
  REQUIRE(wish);
  CHECK(wish->from == 13);
  CHECK(wish->until == 15);
  CHECK(wish->window == 2);
}

TEST_CASE("reads of one page, backwards or apart ask for nothing ahead") {
  ReadAhead ahead{16};
  for (int i = 0; i < 20; ++i) CHECK_FALSE(ahead.after_read(5, many, many));
  for (std::uint64_t page = 40; page > 20; --page) CHECK_FALSE(ahead.after_read(page, many, many));
  for (std::uint64_t page = 50; page < 90; page += 2) CHECK_FALSE(ahead.after_read(page, many, many));
}

TEST_CASE("a page is asked for ahead once, and the next ones when half of the last are read") {
  ReadAhead ahead{16};
  CHECK(read_on(ahead, 0, 200) <= 200 + 16);
  // Far on, the window is as large as it gets.
  std::uint64_t wishes = 0;
  for (std::uint64_t page = 200; page < 300; ++page) {
    const auto wish = ahead.after_read(page, many, many);
    if (!wish) continue;
    ++wishes;
    CHECK(wish->window == 16);
    CHECK(wish->until == page + 17);
    ahead.asked(*wish);
  }
  CHECK(wishes >= 100 / 9);
  CHECK(wishes <= 100 / 8 + 1);
}

TEST_CASE("what the daemon holds for a session bounds what is asked for ahead, down to two pages") {
  const std::uint64_t daemon_pages = GENERATE(std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8}, std::uint64_t{20});
  const std::uint64_t most = std::max<std::uint64_t>(2, daemon_pages / 2);
  ReadAhead ahead{16};
  for (std::uint64_t page = 0; page < 200; ++page) {
    const auto wish = ahead.after_read(page, many, daemon_pages);
    if (!wish) continue;
    CHECK(wish->window <= most);
    ahead.asked(*wish);
  }
}

TEST_CASE("nothing behind the image's end is asked for ahead") {
  ReadAhead ahead{16};
  for (std::uint64_t page = 0; page < 50; ++page) {
    const auto wish = ahead.after_read(page, 50, many);
    if (!wish) continue;
    CHECK(wish->until <= 50);
    ahead.asked(*wish);
  }
}

TEST_CASE("a wish that was not carried out comes again, and so does one that was forgotten") {
  ReadAhead ahead{16};
  (void)read_on(ahead, 10, 2);
  const auto first = ahead.after_read(12, many, many);
  REQUIRE(first);
  CHECK(first->from == 13);
  const auto again = ahead.after_read(13, many, many);
  REQUIRE(again);
  CHECK(again->from == 14);
  ahead.asked(*again);
  ahead.forget();
  const auto forgotten = ahead.after_read(14, many, many);
  REQUIRE(forgotten);
  CHECK(forgotten->from == 15);
}

TEST_CASE("a first read of page 0 counts as one that went on") {
  ReadAhead ahead{16};
  CHECK_FALSE(ahead.after_read(0, many, many));
  CHECK(ahead.after_read(1, many, many));
}

TEST_CASE("a cache of less than two pages to bring in asks for nothing ahead") {
  ReadAhead ahead{1};
  CHECK(read_on(ahead, 0, 100) == 0);
}

TEST_CASE("a call's bytes fall into pages without a gap") {
  std::uint64_t offset = 3 * page_size - 5;
  std::size_t left = 2 * page_size + 9;
  const PagePart expected[] = {{2, page_size - 5, 5}, {3, 0, page_size}, {4, 0, page_size}, {5, 0, 4}};
  for (const auto& want : expected) {
    const auto part = first_part(offset, left);
    CHECK(part.page == want.page);
    CHECK(part.begin == want.begin);
    CHECK(part.length == want.length);
    CHECK(part.end() == want.begin + want.length);
    offset += part.length;
    left -= part.length;
  }
  CHECK(left == 0);
}
