#include "base/clock.hpp"

#include <ctime>

#include "base/random.hpp"
#include "tests/support/catch.hpp"

namespace pageserver::base {
namespace {

TEST_CASE("clocks count milliseconds: one since 1970, and one that never goes back") {
  const std::int64_t before_s = std::time(nullptr);
  const std::int64_t now_ms = unix_ms();
  CHECK(now_ms >= before_s * 1000);
  CHECK(now_ms < (std::time(nullptr) + 2) * 1000);
  const std::int64_t first = monotonic_ms();
  CHECK(first > 0);
  CHECK(monotonic_ms() >= first);
}

TEST_CASE("a random number has all of its bits") {
  std::uint64_t some = 0, all = ~0ull;
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t number = random_number();
    some |= number;
    all &= number;
  }
  CHECK(some == ~0ull);
  CHECK(all == 0);
}

}  // namespace
}  // namespace pageserver::base
