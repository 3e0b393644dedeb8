#include "storage/engine/round_pace.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::RoundPace;

TEST_CASE("round pace: a step is paid for by what is appended, in the ratio asked for") {
  RoundPace pace{4, 1000};
  pace.begin_round();
  pace.begin_step(0);
  pace.end_step();  // the first is free
  CHECK_FALSE(pace.resume(false));
  pace.appended(1);
  CHECK(pace.resume(false));
  pace.end_step();
  pace.appended(249);
  CHECK_FALSE(pace.resume(false));  // 4 + 996 - 1000
  pace.appended(1);
  CHECK(pace.resume(false));
}

TEST_CASE("round pace: there is one step at a time, and none once the round has ended") {
  RoundPace pace{4, 1000};
  pace.begin_round();
  CHECK_FALSE(pace.resume(true));
  pace.end_step();
  CHECK(pace.resume(true));
  CHECK_FALSE(pace.resume(true));
  pace.end_step();
  pace.end_round();
  CHECK_FALSE(pace.resume(true));
}

TEST_CASE("round pace: without a ratio, or in nobody's way, it never waits") {
  RoundPace pace{0, 1000};
  pace.begin_round();
  pace.end_step();
  CHECK(pace.resume(false));
  pace.begin_step(77);
  CHECK(pace.is_alone(77));
  CHECK_FALSE(pace.is_alone(78));
}

TEST_CASE("round pace: it is quiet when nothing was appended from one time that is asked to the next") {
  RoundPace pace{4, 1000};
  CHECK_FALSE(pace.is_quiet(100));
  CHECK(pace.is_quiet(100));
  CHECK_FALSE(pace.is_quiet(101));
  CHECK(pace.is_quiet(101));
}

}  // namespace
}  // namespace pageserver::test
