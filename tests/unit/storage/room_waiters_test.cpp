#include "storage/engine/room_waiters.hpp"

#include <memory>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::RoomWaiters;
using storage::SessionRef;
using storage::SessionState;

SessionRef session(std::uint64_t id) {
  auto state = std::make_shared<SessionState>();
  state->id = id;
  return state;
}

TEST_CASE("room line: everybody who waits is called once, but for who left") {
  RoomWaiters room;
  RoomWaiters::Sessions called;
  const SessionRef first = session(1), second = session(2);
  room.join(first);
  room.join(first);
  room.join(second);
  room.leave(*second);
  CHECK(room.has(*first));
  CHECK_FALSE(room.has(*second));
  room.call_all(called);
  CHECK(called.size() == 1);
  CHECK(called.contains(1));
  CHECK_FALSE(room.has(*first));
}

TEST_CASE("room line: who was let in is let in once, and nobody else with it") {
  RoomWaiters room;
  const SessionRef first = session(1), second = session(2);
  CHECK_FALSE(room.take_admission(*first));
  room.admit(*first);
  CHECK(room.take_admission(*first));
  CHECK_FALSE(room.take_admission(*first));
  room.admit(*first);
  CHECK_FALSE(room.take_admission(*second));
  CHECK_FALSE(room.take_admission(*first));
}

TEST_CASE("room line: the end of a round answers what was wanted, and is counted") {
  RoomWaiters room;
  CHECK_FALSE(room.wanted());
  room.want();
  CHECK(room.wanted());
  CHECK(room.rounds_ended() == 0);
  room.end_round();
  CHECK_FALSE(room.wanted());
  CHECK(room.rounds_ended() == 1);
}

TEST_CASE("room line: a log is emptied once for each end that it has") {
  RoomWaiters room;
  CHECK_FALSE(room.was_emptied(100));
  room.begin_emptying();
  CHECK(room.emptying());
  room.end_emptying(100);
  CHECK_FALSE(room.emptying());
  CHECK(room.was_emptied(100));
  CHECK_FALSE(room.was_emptied(200));
}

}  // namespace
}  // namespace pageserver::test
