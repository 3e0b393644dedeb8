#include <atomic>
#include <barrier>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

#include "storage/engine/read_gate.hpp"

namespace pageserver::test {
namespace {

using storage::ReadGate;

TEST_CASE("read gate: two threads look at the same time, each through its own lane") {
  ReadGate gate{2};
  std::barrier both_look{2};
  // Two new threads, one numbered after the other. Neither would go on if it had to wait for the other to end.
  const auto look = [&] {
    const ReadGate::Look looking{gate};
    both_look.arrive_and_wait();
  };
  std::thread first{look};
  std::thread second{look};
  first.join();
  second.join();
}

TEST_CASE("read gate: nobody looks while something changes") {
  ReadGate gate{2};
  int first = 0, second = 0;
  std::atomic<int> seen_apart{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] {
      for (int looks = 0; looks < 2000; ++looks) {
        const ReadGate::Look look{gate};
        if (first != second) ++seen_apart;
      }
    });
  for (int changes = 0; changes < 2000; ++changes) {
    const ReadGate::Change change{gate};
    ++first;
    ++second;
  }
  for (std::thread& reader : readers) reader.join();
  CHECK(seen_apart == 0);
  CHECK(second == 2000);
}

TEST_CASE("read gate: whoever waits looks between two of many changes in a row") {
  ReadGate gate{2};
  std::atomic<bool> ends{false};
  unsigned looks = 0;
  std::thread reader{[&] {
    while (!ends) {
      const ReadGate::Look look{gate};
      ++looks;
    }
  }};
  constexpr unsigned changes = 200;
  unsigned looked_between = 0;
  for (unsigned i = 0, seen = 0; i < changes; ++i) {
    {
      const ReadGate::Change change{gate};
      if (looks != std::exchange(seen, looks)) ++looked_between;
      while (!gate.looks_wait()) std::this_thread::yield();
    }
    gate.let_looks_pass();
  }
  ends = true;
  reader.join();
  CHECK(looked_between > changes / 2);  // where the machine is busy, not each time
}

TEST_CASE("read gate: reads count in the generation in which they began") {
  ReadGate gate{2};
  ReadGate::Read old, young;
  {
    const ReadGate::Look look{gate};
    old = gate.begin_read(look);
  }
  {
    const ReadGate::Change change{gate};
    gate.begin_generation(change);
    young = gate.begin_read(change);
  }
  CHECK(gate.has_reads(gate.generation() ^ 1u));
  gate.await_reads(true);
  CHECK(gate.end_read(old));
  CHECK_FALSE(gate.has_reads(gate.generation() ^ 1u));
  CHECK(gate.has_reads(gate.generation()));
  gate.await_reads(false);
  CHECK_FALSE(gate.end_read(young));
  CHECK_FALSE(gate.has_reads(gate.generation()));
}

}  // namespace
}  // namespace pageserver::test
