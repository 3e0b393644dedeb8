#include "storage/engine/holders.hpp"

#include <memory>
#include <utility>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::Holders;
using storage::SessionRef;
using storage::SessionState;

SessionRef pin(std::uint64_t id) {
  auto state = std::make_shared<SessionState>();
  state->id = id;
  state->request.view = View::pinned;
  return state;
}

void hold(Holders& holders, const SessionRef& state, std::uint64_t version) {
  holders.add(*state, Holders::make_entry(state), {version * 100, version, version * 200}, version + 1);
}

TEST_CASE("holders: the oldest version comes first, whoever came when") {
  Holders holders;
  CHECK(holders.oldest() == nullptr);
  const SessionRef first = pin(1), second = pin(2), third = pin(3);
  hold(holders, first, 7);
  hold(holders, second, 5);
  hold(holders, third, 5);
  CHECK(holders.oldest() == second.get());
  CHECK(second->held.version == 5);
  CHECK(second->held.position == 500);
  CHECK(second->held.cost == 1000);
  CHECK(second->held_pages == 6);
  holders.remove(*second);
  CHECK(holders.oldest() == third.get());
  holders.remove(*third);
  CHECK(holders.oldest() == first.get());
  holders.remove(*first);
  CHECK(holders.empty());
}

TEST_CASE("holders: a version that is held is found in ranges of versions") {
  Holders holders;
  const SessionRef state = pin(1);
  hold(holders, state, 5);
  CHECK(holders.any_within(5, 6));
  CHECK(holders.any_within(0, 100));
  CHECK_FALSE(holders.any_within(4, 5));
  CHECK_FALSE(holders.any_within(6, 100));
}

TEST_CASE("holders: who moves on takes its entry along") {
  Holders holders;
  const SessionRef early = pin(1), late = pin(2);
  hold(holders, early, 5);
  hold(holders, late, 6);
  Holders::Entry entry = holders.take(*early);
  CHECK(holders.oldest() == late.get());
  holders.add(*early, std::move(entry), {900, 9, 900}, 3);
  CHECK(holders.any_within(9, 10));
  CHECK_FALSE(holders.any_within(5, 6));
}

TEST_CASE("holders: the oldest one that is given up knows why, and holds again when it moved on") {
  using GivenUpFor = SessionState::GivenUpFor;
  const GivenUpFor why = GENERATE(GivenUpFor::held_bytes, GivenUpFor::room, GivenUpFor::memory);
  Holders holders;
  Holders::Sessions given_up;
  const SessionRef early = pin(1), late = pin(2);
  hold(holders, early, 5);
  hold(holders, late, 6);
  holders.give_up_oldest(why, given_up);
  CHECK(early->right == SessionState::Right::version_given_up);
  CHECK(early->given_up_for == why);
  CHECK(holders.oldest() == late.get());
  CHECK(late->right == SessionState::Right::whole);
  REQUIRE(given_up.contains(Holders::key_of(*early)));
  holders.add(*early, given_up.extract(Holders::key_of(*early)), {700, 7, 700}, 1);
  CHECK(early->right == SessionState::Right::whole);
}

}  // namespace
}  // namespace pageserver::test
