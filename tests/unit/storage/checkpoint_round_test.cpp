#include "storage/engine/checkpoint_round.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::CheckpointRound;
using storage::RoundPace;
using Phase = CheckpointRound::Phase;

TEST_CASE("checkpoint round: it holds its version as a pin does, until it lets go") {
  CheckpointRound round{RoundPace{4, 1000}};
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
  CheckpointRound round{RoundPace{4, 1000}};
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

TEST_CASE("checkpoint round: none begins while one is under way or held off") {
  CheckpointRound round{RoundPace{4, 1000}};
  CHECK(round.may_begin());
  round.enter(Phase::scheduled);
  CHECK_FALSE(round.may_begin());
  round.end();
  round.hold_off(true);
  CHECK_FALSE(round.may_begin());
  CHECK(round.idle());
  round.hold_off(false);
  CHECK(round.may_begin());
}

TEST_CASE("checkpoint round: what it waits for, and that its task was missed, outlasts its end") {
  CheckpointRound round{RoundPace{4, 1000}};
  round.enter(Phase::draining);
  round.wait_for_reads(true);
  round.note_missed(true);
  round.end();
  CHECK(round.waits_for_reads());
  CHECK(round.was_missed());
  round.wait_for_reads(false);
  round.note_missed(false);
  CHECK_FALSE(round.waits_for_reads());
  CHECK_FALSE(round.was_missed());
}

TEST_CASE("checkpoint round: its first step is free, however its predecessor ended") {
  CheckpointRound round{RoundPace{4, 1000}};
  round.begin({100, 5, 200}, 7);
  round.pace().end_step();
  CHECK(round.pace().is_paused());
  round.end();
  CHECK_FALSE(round.pace().is_paused());
  CHECK_FALSE(round.pace().resume(true));  // nothing waits for it
  round.begin({200, 8, 400}, 9);
  round.pace().end_step();
  round.pace().appended(1);
  CHECK(round.pace().resume(false));
}

}  // namespace
}  // namespace pageserver::test
