#include "storage/engine/lease_text.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {

TEST_CASE("times are written as UTC in ISO 8601") {
  CHECK(storage::utc_text(0) == "1970-01-01T00:00:00Z");
  CHECK(storage::utc_text(1'795'405'765'000) == "2026-11-23T03:49:25Z");
  CHECK(storage::utc_text(1'795'405'765'999) == "2026-11-23T03:49:25Z");
  CHECK(storage::utc_text(-1) == "1969-12-31T23:59:59Z");
  CHECK(storage::utc_text(INT64_MAX).size() > 3);
}

TEST_CASE("a holder without name or address is still described") {
  HolderStat holder;
  CHECK(storage::holder_text(holder) == "a session without a name since 1970-01-01T00:00:00Z");
  holder.name = "w";
  holder.address = "unix";
  CHECK(storage::holder_text(holder) == "\"w\" at unix since 1970-01-01T00:00:00Z");
  check_error(storage::lease_busy_error("db", holder, 0), Errc::busy, {"\"db\"", "\"w\" at unix"});
  check_error(storage::lease_busy_error("db", holder, 4), Errc::busy, {"and 4 wait in line"});
  check_error(storage::lease_lost_error("db", 9, "broken"), Errc::lease_lost, {"epoch 9", "broken"});
}

}  // namespace pageserver::test
