#include "storage/engine/index_progress.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::IndexProgress;

TEST_CASE("index progress: the version below one that is staged is held until that is entered") {
  IndexProgress progress{1};
  CHECK(progress.point().version == 1);
  CHECK_FALSE(progress.is_staged_within(0, 10));
  progress.stage_above(4);
  CHECK(progress.is_staged_within(4, 5));
  CHECK_FALSE(progress.is_staged_within(3, 4));
  CHECK_FALSE(progress.is_staged_within(5, 9));
  progress.enter({100, 5, 120});
  CHECK_FALSE(progress.is_staged_within(4, 5));
  CHECK(progress.point().position == 100);
  CHECK(progress.point().version == 5);
  CHECK(progress.point().cost == 120);
}

}  // namespace
}  // namespace pageserver::test
