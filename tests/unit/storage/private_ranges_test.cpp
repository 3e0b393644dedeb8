#include "storage/engine/private_ranges.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::LogRange;
using storage::PrivateRanges;

enum class Kind : std::uint8_t { none, data, zeros };

/// What the ranges are to be, byte by byte.
class Model {
public:
  explicit Model(std::uint64_t size) : bytes_(size, Kind::none) {}
  void set(std::uint64_t begin, std::uint64_t end, bool zero) {
    std::fill(bytes_.begin() + static_cast<std::ptrdiff_t>(begin), bytes_.begin() + static_cast<std::ptrdiff_t>(end),
              zero ? Kind::zeros : Kind::data);
  }
  bool all(std::uint64_t begin, std::uint64_t end, Kind kind) const {
    return std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(begin),
                       bytes_.begin() + static_cast<std::ptrdiff_t>(end), [&](Kind at) { return at == kind; });
  }
  bool covers(std::uint64_t begin, std::uint64_t end) const {
    return std::none_of(bytes_.begin() + static_cast<std::ptrdiff_t>(begin),
                        bytes_.begin() + static_cast<std::ptrdiff_t>(end), [](Kind at) { return at == Kind::none; });
  }
  std::vector<LogRange> list() const {
    std::vector<LogRange> found;
    for (std::uint64_t at = 0; at < bytes_.size();) {
      std::uint64_t end = at + 1;
      while (end < bytes_.size() && bytes_[end] == bytes_[at]) ++end;
      if (bytes_[at] != Kind::none) found.push_back({at, end - at, bytes_[at] == Kind::zeros});
      at = end;
    }
    return found;
  }

private:
  std::vector<Kind> bytes_;
};

TEST_CASE("private ranges: random changes leave what an array of bytes has, and are foretold") {
  constexpr std::uint64_t size = 200;
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  PrivateRanges ranges;
  Model model{size};
  for (int step = 0; step < 5000; ++step) {
    const std::uint64_t begin = random() % size;
    const std::uint64_t end = begin + 1 + random() % std::min<std::uint64_t>(size - begin, 20);
    const bool zero = random() % 2 == 0;
    REQUIRE(ranges.inside(begin, end, zero) == model.all(begin, end, zero ? Kind::zeros : Kind::data));
    REQUIRE(ranges.covers(begin, end - begin) == model.covers(begin, end));
    const bool splits = begin > 0 && end < size && model.all(begin - 1, end + 1, Kind::zeros);
    REQUIRE(ranges.splits_zeros(begin, end) == splits);
    // What is inside a range of its kind already changes nothing, and need not be asked about.
    const bool changes = !ranges.inside(begin, end, zero);
    const std::size_t after = ranges.count_after(begin, end, zero);
    ranges.set(begin, end, zero);
    model.set(begin, end, zero);
    const std::vector<LogRange> expected = model.list();
    REQUIRE(ranges.list(0, size) == expected);
    REQUIRE(ranges.count() == expected.size());
    if (changes) REQUIRE(after == expected.size());
    REQUIRE(ranges.zero_count() ==
            static_cast<std::size_t>(
                std::count_if(expected.begin(), expected.end(), [](const LogRange& one) { return one.zero; })));
    if (random() % 200 == 0) {
      ranges.clear();
      model = Model{size};
      REQUIRE(ranges.empty());
    }
  }
}

TEST_CASE("private ranges: what overlaps and what adjoins is told apart") {
  PrivateRanges ranges;
  ranges.set(10, 20, false);
  ranges.set(20, 30, true);
  ranges.set(40, 50, true);
  CHECK(ranges.list(0, 100) == std::vector<LogRange>{{10, 10, false}, {20, 10, true}, {40, 10, true}});
  CHECK(ranges.list(19, 2) == std::vector<LogRange>{{10, 10, false}, {20, 10, true}});
  CHECK(ranges.list(30, 10).empty());
  CHECK(ranges.zeros_at(30, 40) == 2);
  CHECK(ranges.zeros_at(31, 39) == 0);
  CHECK(ranges.count_at(15, 45, 10) == 3);
  CHECK(ranges.count_at(15, 45, 2) == 2);
  CHECK(ranges.count_at(30, 40, 10) == 0);
}

TEST_CASE("private ranges: a visit sees the parts within, in rising order") {
  PrivateRanges ranges;
  ranges.set(10, 20, false);
  ranges.set(20, 30, true);
  ranges.set(40, 50, false);
  std::vector<LogRange> seen;
  ranges.visit(15, 45, [&](std::uint64_t begin, std::uint64_t end, bool zero) {
    seen.push_back({begin, end - begin, zero});
  });
  CHECK(seen == std::vector<LogRange>{{15, 5, false}, {20, 10, true}, {40, 5, false}});
  // Nothing lies within nothing.
  ranges.visit(25, 25, [](std::uint64_t, std::uint64_t, bool) { FAIL("an empty part was seen"); });
}

}  // namespace
}  // namespace pageserver::test
