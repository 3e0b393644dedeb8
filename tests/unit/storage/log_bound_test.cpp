#include "storage/engine/log_bound.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::LogBound;

TEST_CASE("log bound: writers wait once the log is longer than it may be, until files of it are gone") {
  LogBound bound{100, 50, 1};
  CHECK_FALSE(bound.is_passed(100, false));
  CHECK(bound.is_passed(101, false));
  CHECK(bound.unreclaimed(101) == 101);
  bound.reclaim_until(60);
  CHECK_FALSE(bound.is_passed(160, false));
  CHECK(bound.is_passed(161, false));
  CHECK(bound.unreclaimed(161) == 101);
}

TEST_CASE("log bound: what pins hold back, and what a checkpoint waits for, is bounded on its own") {
  LogBound bound{100, 50, 1};
  bound.hold_back(120);
  CHECK_FALSE(bound.is_passed(150, false));
  CHECK(bound.is_passed(151, false));
  LogBound waits{100, 50, 1};
  CHECK_FALSE(waits.is_passed(150, true));
  CHECK(waits.is_passed(151, true));
  CHECK(waits.is_passed(150, false));
}

TEST_CASE("log bound: a checkpoint makes no room before files of the log are gone") {
  LogBound bound{100, 50, 7};
  CHECK(bound.checkpointed().version == 7);
  bound.note_checkpoint({90, 8, 95});
  CHECK(bound.checkpointed().version == 8);
  CHECK(bound.unreclaimed(101) == 101);
  CHECK(bound.is_passed(101, false));
}

}  // namespace
}  // namespace pageserver::test
