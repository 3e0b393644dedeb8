#include "tests/support/catch.hpp"

#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

Subject constant(const std::string& name, double value) {
  return {name, [value](std::size_t) { return value; }};
}

Settings three_rounds() {
  Settings settings;
  settings.rounds = 3;
  return settings;
}

}  // namespace

TEST_CASE("subjects take turns, each once a round and each first in its turn") {
  std::string order;
  const auto subject = [&order](char name) {
    return Subject{std::string(1, name), [&order, name](std::size_t) {
                     order += name;
                     return 1.0;
                   }};
  };
  compare(three_rounds(), "us", false, {subject('a'), subject('b'), subject('c')});
  CHECK(order == "abcbcacab");
}

TEST_CASE("the ratio is to the best rival, whichever way is better") {
  const std::vector<Subject> subjects{constant("ours", 6), constant("slow", 3), constant("fast", 12),
                                      constant("only shown", 100)};
  const Measured rate = compare(three_rounds(), "requests/s", true, subjects, 2);
  CHECK(rate.ratio.median == Approx(0.5));
  REQUIRE(rate.figures.size() == 4);
  CHECK(rate.figures[0].name == "ours");
  CHECK(rate.figures[1].name == "fast");
  const Measured time = compare(three_rounds(), "us", false, subjects, 2);
  CHECK(time.ratio.median == Approx(2));
  CHECK(time.figures[1].name == "slow");
}

TEST_CASE("a bar is reached at its value") {
  CHECK(Bar{Bar::Kind::at_most, 1.15, ""}.reached(1.15));
  CHECK_FALSE(Bar{Bar::Kind::at_most, 1.15, ""}.reached(1.16));
  CHECK(Bar{Bar::Kind::at_least, 1.5, ""}.reached(1.5));
  CHECK_FALSE(Bar{Bar::Kind::at_least, 1.5, ""}.reached(1.49));
  CHECK(Bar{}.reached(7));
}

TEST_CASE("every row has a name of its own") {
  std::vector<std::string> names;
  for (const Row& row : all_rows()) names.push_back(row.id);
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

}  // namespace pageserver::bench
