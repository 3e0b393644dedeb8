// The soak's checker must pass what one memory can answer, and must catch what it can't: right histories, and the same
// with one thing planted in them.
#include "tests/support/catch.hpp"

#include "tests/crash/random.hpp"
#include "tests/soak/log_watch.hpp"
#include "tests/soak/store_model.hpp"

namespace pageserver::test::soak {
namespace {

constexpr std::uint64_t first_pages = 2;

Image zeros(std::uint64_t pages) {
  Image image;
  image.cells.resize(pages * cells_per_page);
  return image;
}

/// Reads `runs` cells of state `image`.
std::vector<Run> seen(const Image& image, const std::vector<Run>& where) {
  std::vector<Run> runs;
  for (const Run& one : where) {
    for (std::uint64_t cell = one.first; cell < one.first + one.cells; ++cell)
      runs.push_back({cell, 1, image.cells[cell]});
  }
  return runs;
}

struct Told {
  Life life;
  std::vector<Image> states;
  std::vector<Time> effects;  // when each state began
};

/// Transactions of two ranges each, and readers of the same cells, each with its effect at one moment of its time.
Told right(std::uint64_t seed, std::size_t changes) {
  Random random(seed);
  Told told;
  told.life.before = zeros(first_pages);
  told.states.push_back(told.life.before);
  told.effects.push_back(0);
  Time time = 10;
  for (std::uint64_t number = 1; number <= changes; ++number) {
    Change change;
    change.number = number;
    change.asked = time + random.below(10);
    const Time effect = change.asked + random.below(20);
    change.answered = effect + random.below(20);
    time = change.answered + 1;
    change.runs.push_back({random.below(6), 1 + random.below(4), number});
    change.runs.push_back({cells_per_page + random.below(6), 1 + random.below(4), random.one_in(8) ? 0 : number});
    if (random.one_in(30)) change.grown_pages = 1;
    told.states.push_back(told.states.back());
    told.states.back().apply(change);
    told.effects.push_back(effect);
    told.life.changes.push_back(std::move(change));
  }
  for (unsigned session = 0; session < 3; ++session) {
    for (Time at = 0; at < time;) {
      Read read;
      read.who = "session " + std::to_string(session);
      read.asked = at + random.below(8);
      const Time effect = read.asked + random.below(30);
      read.answered = effect + random.below(30);
      at = read.answered + 1;
      std::size_t state = 0;
      while (state + 1 < told.effects.size() && told.effects[state + 1] < effect) ++state;
      read.runs = seen(told.states[state], {{0, 10, 0}, {cells_per_page, 10, 0}});
      if (random.one_in(3)) read.pages = told.states[state].pages();
      told.life.reads.push_back(std::move(read));
    }
  }
  return told;
}

Read read_at_end(const Image& image) { return {never, never, "the end", image.pages(), runs_of(image)}; }

std::string wrong(const Life& life) { return contradiction(life).value_or(""); }

Change change_of(std::uint64_t number, const Run& run) {
  Change change;
  change.number = number;
  change.runs = {run};
  return change;
}

}  // namespace

TEST_CASE("soak checker: what one memory can answer is passed") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    Told told = right(seed, 60);
    told.life.reads.push_back(read_at_end(told.states.back()));
    REQUIRE(wrong(told.life) == "");
  }
}

TEST_CASE("soak checker: a publish that was answered and is lost is caught, in whatever read shows it") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    INFO("seed " << seed);
    const Told told = right(seed, 40);
    Life life = told.life;
    life.reads = {read_at_end(told.states[told.states.size() - 2])};
    REQUIRE(wrong(life) != "");
    // One that was lost earlier, and all that came after it is there.
    Image without = life.before;
    for (std::size_t at = 0; at < life.changes.size(); ++at)
      if (at != life.changes.size() - 5) without.apply(life.changes[at]);
    if (without == told.states.back()) continue;  // it was written over
    life.reads = {read_at_end(without)};
    REQUIRE(wrong(life) != "");
  }
}

TEST_CASE("soak checker: a stale read is caught: older than what was answered before it, or than what somebody saw") {
  Life life;
  life.before = zeros(1);
  Change change = change_of(1, {0, 2, 1});
  change.asked = 10;
  change.answered = 20;
  life.changes = {change};
  const auto read = [](Time asked, Time answered, std::uint64_t number) {
    return Read{asked, answered, "r", 0, {{0, 2, number}}};
  };
  life.reads = {read(12, 18, 0), read(13, 19, 1), read(21, 22, 1)};
  CHECK(wrong(life) == "");
  life.reads = {read(21, 22, 0)};
  CHECK_THAT(wrong(life), Contains("time allows states 1 to 1"));
  life.reads = {read(5, 9, 1)};
  CHECK(wrong(life) != "");
  // Both alone are right; the second was asked for after the first had seen the change.
  life.changes[0].answered = 40;
  life.reads = {read(12, 13, 1), read(14, 30, 0)};
  CHECK_THAT(wrong(life), Contains("an earlier read saw state 1"));
  std::swap(life.reads[0].runs, life.reads[1].runs);
  CHECK(wrong(life) == "");
}

TEST_CASE("soak checker: a stale read that is planted in a long history is caught") {
  std::size_t planted = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    INFO("seed " << seed);
    Told told = right(seed, 60);
    Random random(seed);
    Read& read = told.life.reads[random.below(told.life.reads.size())];
    std::size_t state = 0;  // the newest one that was over before the read was asked for
    while (state + 1 < told.life.changes.size() && told.life.changes[state].answered < read.asked) ++state;
    if (state < 2) continue;
    const std::vector<Run> old = seen(told.states[state - 2], {{0, 10, 0}, {cells_per_page, 10, 0}});
    const auto differs = [&](std::size_t from) {  // from each state that time allows
      for (std::size_t at = from; at < told.states.size(); ++at) {
        const auto as_is = seen(told.states[at], {{0, 10, 0}, {cells_per_page, 10, 0}});
        if (std::equal(old.begin(), old.end(), as_is.begin(),
                       [](const Run& a, const Run& b) { return a.number == b.number; }))
          return false;
      }
      return true;
    };
    if (!differs(state)) continue;
    read.runs = old;
    read.pages = 0;
    ++planted;
    REQUIRE(wrong(told.life) != "");
  }
  CHECK(planted > 20);
}

TEST_CASE("soak checker: a torn transaction is caught, in one read and in a pin that took many") {
  Life life;
  life.before = zeros(2);
  Change change;
  change.number = 1;
  change.asked = 10;
  change.answered = 20;
  change.runs = {{0, 4, 1}, {cells_per_page, 4, 1}};
  life.changes = {change};
  life.reads = {{12, 18, "r", 0, {{0, 4, 1}, {cells_per_page, 4, 1}}}};
  CHECK(wrong(life) == "");
  life.reads[0].runs[1].number = 0;
  CHECK(wrong(life) != "");
  life.reads[0].runs = {{0, 3, 1}, {3, 1, 0}};
  CHECK(wrong(life) != "");
  // A crash that leaves a part of what was not answered.
  life.changes[0].answered = never;
  Image torn = zeros(2);
  torn.apply(change.runs[0]);
  CHECK(!left_in(torn, zeros(2), life.changes, {}));
  CHECK(left_in(zeros(2), zeros(2), life.changes, {})->pending == 0);
  torn.apply(change.runs[1]);
  CHECK(left_in(torn, zeros(2), life.changes, {})->pending == 1);
}

TEST_CASE("soak checker: what was never written, a wrong size and two writers at a time are caught") {
  Life life;
  life.before = zeros(2);
  life.reads = {{1, 2, "r", 0, {{7, 1, 99}}}};
  CHECK(wrong(life) != "");
  life.reads = {{1, 2, "r", 3, {}}};
  CHECK_THAT(wrong(life), Contains("3 pages instead of 2"));
  life.reads = {{1, 2, "r", 0, {{2 * cells_per_page, 1, 0}}}};
  CHECK_THAT(wrong(life), Contains("past the end"));
  life.reads.clear();
  Change one = change_of(1, {0, 1, 1});
  one.asked = 10;
  one.answered = 30;
  Change two = change_of(2, {0, 1, 2});
  two.asked = 20;
  two.answered = 25;
  life.changes = {one, two};
  CHECK_THAT(wrong(life), Contains("two writers"));
}

TEST_CASE("soak checker: bytes of another place are known as such") {
  std::string fault;
  std::vector<std::byte> bytes = bytes_of({100, 4, 7});
  CHECK(runs_of(bytes, 100, fault).size() == 1);
  CHECK(fault == "");
  runs_of(bytes, 101, fault);
  CHECK_THAT(fault, Contains("cell 101"));
  fault.clear();
  bytes.erase(bytes.begin());
  bytes.push_back(std::byte{0});
  runs_of(bytes, 100, fault);
  CHECK_THAT(fault, Contains("cell 100"));
}

TEST_CASE("soak model: what a crash may leave is a first part of what was not answered") {
  StoreModel model("m");
  model.replace(zeros(1));
  const std::uint64_t writer = model.take_over(zeros(1), now(), {7, 1});
  const auto first = model.begin(writer, change_of(1, {0, 2, 1}));
  const auto second = model.begin(writer, change_of(2, {1, 2, 2}));
  const auto third = model.begin(writer, change_of(3, {2, 2, 3}));
  model.end(first, Outcome::done, now());
  Image after = zeros(1);
  after.apply(Run{0, 2, 1});
  SECTION("the second is there and the third not") {
    after.apply(Run{1, 2, 2});
    model.end_life(after);
    CHECK((model.newest() == after));
  }
  SECTION("the third without the second is a violation") {
    after.apply(Run{2, 2, 3});
    CHECK_THROWS_AS(model.end_life(after), Violation);
  }
  SECTION("without the first, which was answered, it is one") { CHECK_THROWS_AS(model.end_life(zeros(1)), Violation); }
  SECTION("what somebody saw of the second must be there, answered or not") {
    Read read{now(), now(), "r", 0, {{1, 2, 2}}};
    model.add(read);
    CHECK_THROWS_AS(model.end_life(after), Violation);
  }
  SECTION("of those that failed one may be there, until something succeeds") {
    model.end(second, Outcome::failed, now());
    SECTION("there") {
      after.apply(Run{1, 2, 2});
      model.end_life(after);
    }
    SECTION("not after a success") {
      model.end(third, Outcome::done, now());
      after.apply(Run{1, 2, 2});
      after.apply(Run{2, 2, 3});
      CHECK_THROWS_AS(model.end_life(after), Violation);
    }
  }
}

TEST_CASE("soak model: the next writer decides what became of the last one's changes, and answers must agree") {
  StoreModel model("m");
  model.replace(zeros(1));
  const std::uint64_t writer = model.take_over(zeros(1), now(), {7, 2});
  const auto change = model.begin(writer, change_of(1, {0, 2, 1}));
  Image with = zeros(1);
  with.apply(Run{0, 2, 1});
  SECTION("found, and then answered with success") {
    model.take_over(with, now(), {7, 3});
    model.end(change, Outcome::done, now());
  }
  SECTION("found, and then refused") {
    model.take_over(with, now(), {7, 4});
    CHECK_THROWS_AS(model.end(change, Outcome::refused, now()), Violation);
  }
  SECTION("not found, and then answered with success: a lost flush") {
    model.take_over(zeros(1), now(), {7, 5});
    CHECK_THROWS_AS(model.end(change, Outcome::done, now()), Violation);
  }
  SECTION("answered with success, and not found: a lost flush") {
    model.end(change, Outcome::done, now());
    CHECK_THROWS_AS(model.take_over(zeros(1), now(), {7, 6}), Violation);
  }
  SECTION("a writer that comes late, after the one who has the lease now, is none") {
    const std::uint64_t second = model.take_over(with, now(), {7, 90});
    const std::uint64_t late = model.take_over(zeros(1), now(), {7, 89});
    CHECK(model.begin(late, change_of(2, {0, 2, 2}))->stale);
    CHECK(!model.begin(second, change_of(3, {0, 2, 3}))->stale);
  }
  SECTION("a writer whose lease has gone to another changes nothing") {
    model.take_over(zeros(1), now(), {7, 7});
    const auto late = model.begin(writer, change_of(2, {0, 2, 2}));
    CHECK_THROWS_AS(model.end(late, Outcome::done, now()), Violation);
  }
}

TEST_CASE("soak log: each WARN and ERROR needs its own cause") {
  const std::string link =
      "2026-11-27T10:00:00.000Z WARN  store store=a warning=\"a.img has 2 names (hard links) now\"\n";
  const std::string stop = R"({"time":"x","level":"error","event":"stopped at once","reason":"signal"})";
  const std::string sync = "2026-11-27T10:00:00.000Z ERROR sync failed store=a error=\"EIO\"\n";
  const std::string info = "2026-11-27T10:00:00.000Z INFO  session closed error=\"WARNING\"\n";
  CHECK(complaints_without_cause(info, none).empty());
  CHECK(complaints_without_cause(link, second_name).empty());
  CHECK(complaints_without_cause(link, handled | few_descriptors).size() == 1);
  CHECK(complaints_without_cause(stop, second_signal).empty());
  CHECK(complaints_without_cause(stop, none).size() == 1);
  // A disk that is sound has no failed sync, whatever else is done.
  CHECK(complaints_without_cause(sync, ~0u).size() == 1);
  CHECK(complaints_without_cause("==1==ERROR: AddressSanitizer: heap-use-after-free\n", ~0u).size() == 1);
  CHECK(complaints_without_cause(info + link + sync, second_name).size() == 1);
}

TEST_CASE("soak log: a recovery is said for its own store, as text and as JSON") {
  const std::string text = "2026-11-27T10:00:00.000Z INFO recovered store=a path=/x/a.img records=3\n";
  const std::string json = R"({"time":"x","level":"info","event":"recovered","store":"d","path":"/x"})";
  CHECK(says_recovered(text + json, "a"));
  CHECK(says_recovered(text + json, "d"));
  CHECK(!says_recovered(text + json, "s"));
}

}  // namespace pageserver::test::soak
