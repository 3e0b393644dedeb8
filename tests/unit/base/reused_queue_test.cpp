// A line whose places are used again.
#include "tests/support/catch.hpp"

#include <deque>
#include <random>
#include <string>

#include "base/reused_queue.hpp"

using pageserver::base::ReusedQueue;

namespace {

void check_same(const ReusedQueue<std::string>& line, const std::deque<std::string>& expected) {
  REQUIRE(line.size() == expected.size());
  REQUIRE(line.empty() == expected.empty());
  for (std::size_t i = 0; i < expected.size(); ++i) REQUIRE(line[i] == expected[i]);
  if (expected.empty()) return;
  REQUIRE(line.front() == expected.front());
  REQUIRE(line.back() == expected.back());
}

}  // namespace

TEST_CASE("a line whose places are used again holds what a deque holds, however it grows and shrinks") {
  std::mt19937_64 random{7};
  ReusedQueue<std::string> line;
  std::deque<std::string> expected;
  // Long and short in turns: it grows to some 1,500 and comes back to a few, and every wrap in between.
  for (unsigned i = 0; i < 40'000; ++i) {
    const bool growing = i / 4'000 % 2 == 0;
    const unsigned what = static_cast<unsigned>(random() % 100);
    if (expected.empty() || what < (growing ? 65u : 20u)) {
      line.push_back() = std::to_string(i);
      expected.push_back(std::to_string(i));
    } else if (what < 95) {
      line.pop_front();
      expected.pop_front();
    } else {
      line.pop_back();
      expected.pop_back();
    }
    if (i % 16 == 0) check_same(line, expected);
  }
  const ReusedQueue<std::string> copied = line;
  check_same(copied, expected);
}

TEST_CASE("what an element had on the heap stays for the next one in its place") {
  ReusedQueue<std::string> line;
  const std::string* place = nullptr;
  for (unsigned i = 0; i < 64; ++i) {
    std::string& added = line.push_back();
    if (place == nullptr) place = &added;
    if (&added == place && i > 0) CHECK(added.capacity() >= 1'000);
    added.assign(1'000, 'x');
    line.pop_front();
  }
}
