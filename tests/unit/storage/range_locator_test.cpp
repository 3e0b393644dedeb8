#include "storage/engine/range_locator.hpp"

#include <memory>
#include <span>
#include <vector>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::LoggedRange;
using storage::LogRange;
using storage::RangeLocator;

/// A stream whose bytes say where they are.
std::byte byte_at(std::uint64_t offset) { return static_cast<std::byte>(offset * 7 + offset / 251); }

void fill(std::uint64_t offset, std::span<std::byte> buffer) {
  for (std::size_t i = 0; i < buffer.size(); ++i) buffer[i] = byte_at(offset + i);
}

TEST_CASE("range locator: zeros have no place, all others adjoin in the record's data") {
  RangeLocator locator;
  const std::vector<LogRange> ranges{{10, 100, false}, {200, 5000, true}, {7000, 1000, false}, {9000, 1, false}};
  const auto logged = locator.locate(ranges, false, fill);
  REQUIRE(logged.size() == 4);
  CHECK(logged[0].position == 0);
  CHECK(logged[1].position == storage::no_position);
  CHECK(logged[2].position == 100);
  CHECK(logged[3].position == 1100);
  for (const LoggedRange& one : logged) CHECK(one.memory == nullptr);
  CHECK(logged[2].range.offset == 7000);
}

TEST_CASE("range locator: small ranges keep their bytes, in blocks that live as long as one of them") {
  RangeLocator locator;
  std::vector<LogRange> ranges;
  for (std::uint64_t i = 0; i < 40; ++i) {
    ranges.push_back({i * 3000, RangeLocator::small_range_bytes_max - i, false});
    ranges.push_back({i * 3000 + 1000, RangeLocator::small_range_bytes_max + 1, false});
  }
  auto logged = locator.locate(ranges, true, fill);
  std::shared_ptr<const std::byte[]> last;
  std::uint64_t expected = 0;
  for (LoggedRange& one : logged) {
    CHECK(one.position == expected);
    expected += one.range.length;
    const bool small = one.range.length <= RangeLocator::small_range_bytes_max;
    REQUIRE((one.memory != nullptr) == small);
    if (small) last = one.memory;
  }
  const LoggedRange kept = logged[logged.size() - 2];
  logged.clear();
  const std::span bytes{last.get(), static_cast<std::size_t>(kept.range.length)};
  for (std::size_t i = 0; i < bytes.size(); ++i) REQUIRE(bytes[i] == byte_at(kept.position + i));
}

TEST_CASE("range locator: the memory of a short list serves the next one, that of a long list does not") {
  RangeLocator locator;
  const std::vector<LogRange> few{{10, 100, false}, {200, 50, false}};
  auto logged = locator.locate(few, false, fill);
  const LoggedRange* const memory = logged.data();
  locator.take_back(logged);
  CHECK(logged.empty());
  auto again = locator.locate(few, false, fill);
  CHECK(again.data() == memory);
  CHECK(again.size() == 2);
  auto many = locator.locate(std::vector<LogRange>(65, LogRange{0, 1, true}), false, fill);
  locator.take_back(many);
  CHECK(many.size() == 65);
}

}  // namespace
}  // namespace pageserver::test
