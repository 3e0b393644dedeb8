#include "tests/crash/answers.hpp"

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using History = AnswerHistory;
using Outcome = AnswerHistory::Outcome;

/// Two leases: versions 2 and 3 of the first, which is broken, and 4 of the second; a refused publish between.
History right_history() {
  History history;
  history.first_version = 1;
  history.first_pages = 1;
  history.publishes = {{{10, 20}, 1, 101, 2, Outcome::done, 2},
                       {{30, 40}, 1, 102, 0, Outcome::done, 3},
                       {{41, 60}, 1, 103, 1, Outcome::refused, 0},
                       {{70, 80}, 2, 104, 1, Outcome::done, 4}};
  history.views = {
      {"size", {15, 25}, 2, 3}, {"size", {45, 46}, 3, 3}, {"open", {62, 63}, 3, 3}, {"size", {90, 91}, 4, 4}};
  history.marks = {{{5, 12}, 101, 0}, {{50, 55}, 102, 3}};
  history.refreshes = {{1, 3, {{0, 8}, {65536, 100}}, false}, {3, 4, {}, true}};
  history.leases = {{1, {42, 50}, true}, {2, {}, false}};
  return history;
}

}  // namespace

TEST_CASE("answers that agree with one sequence of versions are right") {
  CHECK(contradiction(right_history()).value_or("") == "");
}

TEST_CASE("answers that can't all be true are found") {
  History wrong = right_history();
  SECTION("a publish that was answered as refused has made a version") {
    wrong.publishes[1].outcome = Outcome::refused;
  }
  SECTION("two publishes are told the same version") { wrong.publishes[1].version = 2; }
  SECTION("pages of one version with the number of another") { wrong.views[0].pages = 1; }
  SECTION("a version that nobody published") { wrong.views[3].version = 5; }
  SECTION("an older version than one that was answered before") { wrong.views[1] = {"size", {45, 46}, 2, 3}; }
  SECTION("a version that was not asked for yet") { wrong.views[0].time = {1, 9}; }
  SECTION("what was answered as refused is seen") { wrong.marks[0] = {{65, 66}, 103, 0}; }
  SECTION("a mark of another version") { wrong.marks[1].version = 2; }
  SECTION("refresh names what lies past the end") { wrong.refreshes[0].changed[1] = {3 * 65536, 8}; }
  SECTION("refresh names what nobody published") { wrong.refreshes[1] = {3, 4, {{0, 8}, {2 * 65536, 8}}, false}; }
  SECTION("refresh leaves out what changed") { wrong.refreshes[0].changed = {{65536, 100}}; }
  SECTION("a lease is lost that nobody broke") { wrong.leases[1].lost = true; }
  SECTION("a publish that was asked for after its lease was broken") { wrong.leases[0].broken = {22, 25}; }
  SECTION("a publish of a lease that had ended") { wrong.publishes[3].epoch = 0; }
  SECTION("an epoch that is given twice") { wrong.leases[1].epoch = 1; }
  CHECK(contradiction(wrong).value_or("") != "");
}

}  // namespace pageserver::test
