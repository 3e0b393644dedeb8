#include "tests/crash/linearizability.hpp"

#include "tests/support/catch.hpp"

#include "tests/crash/random.hpp"

namespace pageserver::test {
namespace {

using Write = History::Write;
using Read = History::Read;

/// A memory that is right: each operation takes effect at one moment between question and answer.
History right_history(std::uint64_t seed, std::size_t operations) {
  constexpr std::uint64_t cells = 40;
  Random random(seed);
  History history;
  std::vector<std::vector<std::uint64_t>> states{std::vector<std::uint64_t>(cells)};
  std::vector<std::uint64_t> effects{0};  // when each state began
  std::uint64_t now = 10;
  while (history.writes.size() < operations / 5) {
    Write write;
    write.asked = now + random.below(10);
    const std::uint64_t effect = write.asked + random.below(20);
    write.answered = effect + random.below(20);
    now = write.answered + 1;
    write.cells = 1 + random.below(10);
    write.first_cell = random.below(cells - write.cells);
    history.writes.push_back(write);
    states.push_back(states.back());
    for (std::uint64_t cell = 0; cell < write.cells; ++cell) {
      states.back()[write.first_cell + cell] = history.writes.size();
    }
    effects.push_back(effect);
  }
  const std::uint64_t end = now;
  for (std::uint64_t session = 0; session < 4; ++session) {
    std::uint64_t at = 0;
    while (at < end) {
      Read read;
      read.session = session;
      read.asked = at + random.below(8);
      const std::uint64_t effect = read.asked + random.below(30);
      read.answered = effect + random.below(30);
      at = read.answered + 1;
      const std::uint64_t length = 1 + random.below(12);
      read.first_cell = random.below(cells - length);
      // An effect at the same moment as a write's may come before or after it.
      std::size_t state = 0;
      while (state + 1 < effects.size() && effects[state + 1] < effect) ++state;
      for (std::uint64_t cell = 0; cell < length; ++cell) {
        read.values.push_back(states[state][read.first_cell + cell]);
      }
      history.reads.push_back(read);
    }
  }
  return history;
}

}  // namespace

TEST_CASE("histories of a right memory are linearizable") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const History history = right_history(seed, 1000);
    INFO("seed " << seed);
    CHECK(contradiction(history).value_or("") == "");
    CHECK(concurrent_share(history) > 0.3);
  }
}

TEST_CASE("an empty history, and reads of what nobody wrote") {
  CHECK_FALSE(contradiction({}));
  CHECK_FALSE(contradiction({{}, {{1, 2, 0, 5, {0, 0}}}}));
  CHECK(contradiction({{}, {{1, 2, 0, 5, {0, 3}}}}));
  CHECK(concurrent_share({}) == 0);
}

TEST_CASE("a stale read is found") {
  const std::vector<Write> writes{{10, 20, 0, 4}};
  CHECK(contradiction({writes, {{21, 30, 0, 0, {0}}}}));
  CHECK_FALSE(contradiction({writes, {{19, 30, 0, 0, {0}}}}));
  CHECK_FALSE(contradiction({writes, {{21, 30, 0, 0, {1}}}}));
}

TEST_CASE("a read of the future is found") {
  const std::vector<Write> writes{{10, 20, 0, 4}};
  CHECK(contradiction({writes, {{1, 9, 0, 0, {1}}}}));
  CHECK_FALSE(contradiction({writes, {{1, 11, 0, 0, {1}}}}));
}

TEST_CASE("a torn read is found") {
  const std::vector<Write> writes{{10, 20, 0, 4}, {30, 40, 0, 4}};
  CHECK(contradiction({writes, {{12, 50, 0, 0, {1, 1, 2, 2}}}}));
  CHECK(contradiction({writes, {{12, 50, 0, 0, {0, 1, 1, 1}}}}));
  CHECK_FALSE(contradiction({writes, {{12, 50, 0, 0, {1, 1, 1, 1}}}}));
}

TEST_CASE("half of a later write without an earlier one is found") {
  // The second write covers only the right half: seeing it means seeing the first one too.
  const std::vector<Write> writes{{10, 20, 0, 4}, {30, 40, 2, 2}};
  CHECK(contradiction({writes, {{5, 50, 0, 0, {0, 0, 2, 2}}}}));
  CHECK_FALSE(contradiction({writes, {{5, 50, 0, 0, {1, 1, 2, 2}}}}));
}

TEST_CASE("reads that go back in time are found, also over sessions") {
  const std::vector<Write> writes{{10, 100, 0, 2}};
  CHECK(contradiction({writes, {{11, 20, 0, 0, {1}}, {21, 30, 0, 1, {0}}}}));
  CHECK(contradiction({writes, {{11, 20, 0, 0, {1}}, {21, 30, 1, 1, {0}}}}));
  // Overlapping reads may see either.
  CHECK_FALSE(contradiction({writes, {{11, 20, 0, 0, {1}}, {19, 30, 1, 1, {0}}}}));
}

TEST_CASE("going back is found through a third read that ties the order") {
  // 2 was seen; then a read of another cell says nothing; then 1 again.
  const std::vector<Write> writes{{10, 20, 0, 1}, {30, 100, 0, 1}};
  CHECK(contradiction({writes, {{40, 45, 0, 0, {2}}, {46, 50, 1, 7, {0}}, {51, 60, 2, 0, {1}}}}));
}

TEST_CASE("a write that was never answered may be seen or not, but not both ways in turn") {
  const std::vector<Write> writes{{10, 20, 0, 2}, {30, History::never, 0, 2}};
  CHECK_FALSE(contradiction({writes, {{40, 50, 0, 0, {2, 2}}}}));
  CHECK_FALSE(contradiction({writes, {{40, 50, 0, 0, {1, 1}}}}));
  CHECK_FALSE(contradiction({writes, {{40, 50, 0, 0, {1, 1}}, {60, 70, 0, 0, {2, 2}}}}));
  CHECK(contradiction({writes, {{40, 50, 0, 0, {2, 2}}, {60, 70, 0, 0, {1, 1}}}}));
}

TEST_CASE("overlapping writes are not one writer's") { CHECK(contradiction({{{10, 20, 0, 1}, {19, 30, 0, 1}}, {}})); }

TEST_CASE("one wrong value in a long history is found") {
  unsigned found = 0, changed = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    History history = right_history(seed, 400);
    Random random(seed * 77);
    Read& read = history.reads[history.reads.size() / 2 + random.below(history.reads.size() / 4)];
    const std::size_t at = random.below(read.values.size());
    if (read.values[at] == 0) continue;
    ++changed;
    read.values[at] = 0;  // lost: as if the write had never been
    found += contradiction(history).has_value();
  }
  CHECK(changed > 20);
  CHECK(found == changed);
}

TEST_CASE("the concurrent share counts what overlaps with another session") {
  const History history{{{10, 20, 0, 1}, {30, 40, 0, 1}}, {{15, 18, 0, 0, {0}}, {50, 60, 0, 0, {2}}}};
  CHECK(concurrent_share(history) == Approx(0.5));
}

}  // namespace pageserver::test
