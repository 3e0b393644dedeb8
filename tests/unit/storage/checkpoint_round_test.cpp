#include "storage/engine/checkpoint_round.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::CheckpointRound;
using Phase = CheckpointRound::Phase;

TEST_CASE("checkpoint round: it holds its version as a pin does, until it lets go") {
  CheckpointRound round;
  CHECK(round.idle());
  CHECK_FALSE(round.holds_within(0, ~0ull));
  round.enter(Phase::scheduled);
  CHECK_FALSE(round.idle());
  round.begin({100, 5, 200}, 7);
  CHECK(round.pages() == 7);
  CHECK(round.until().version == 5);
  CHECK(round.holds_within(5, 6));
  CHECK_FALSE(round.holds_within(4, 5));
  CHECK_FALSE(round.holds_within(6, 9));
  round.let_go();
  CHECK_FALSE(round.holds_within(0, ~0ull));
  CHECK(round.until().version == 5);
  CHECK_FALSE(round.idle());
  round.end();
  CHECK(round.idle());
}

TEST_CASE("checkpoint round: one that failed leaves nothing to the next") {
  CheckpointRound round;
  round.begin({100, 5, 200}, 7);
  round.enter(Phase::copying);
  round.move_to(3);
  round.set_data_from(6);
  round.end();
  CHECK_FALSE(round.holds_within(5, 6));
  round.begin({200, 8, 400}, 9);
  CHECK(round.cursor() == 0);
  CHECK(round.data_from() == 0);
  CHECK(round.holds_within(8, 9));
}

}  // namespace
}  // namespace pageserver::test
