// Turns, which one thread at a time has, and loops, which go on while a thread of theirs is stuck.
#include "tests/support/catch.hpp"

#include <atomic>
#include <functional>
#include <list>
#include <set>
#include <thread>
#include <vector>

#include "server/runtime/log.hpp"
#include "server/runtime/loops.hpp"
#include "server/runtime/turn.hpp"
#include "tests/daemon/slow_files.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using namespace pageserver::server;
using namespace std::chrono_literals;

/// What takes turns: counts what was done, without a lock or an atomic.
struct Taker {
  static constexpr unsigned signs[] = {Turn::first_sign, Turn::first_sign << 1};

  void take(unsigned what) {
    if (!turn.enter(what)) return;
    do {
      if ((what & Turn::tasks) != 0)
        for (const auto& task : turn.take_tasks()) task();
      if ((what & signs[0]) != 0) ++first;
      if ((what & signs[1]) != 0) ++second;
      what = turn.next();
    } while (what != 0);
  }

  Turn turn;
  std::uint64_t tasks = 0;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

}  // namespace

TEST_CASE("turns: one thread at a time is inside, and what the others leave is done") {
  constexpr int threads = 4;
  constexpr std::uint64_t rounds = 20'000;
  Taker taker;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&] {
      for (std::uint64_t i = 0; i < rounds; ++i) {
        taker.turn.add([&] { ++taker.tasks; });
        taker.take(Turn::tasks);
        taker.take(Taker::signs[i % 2]);
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  CHECK(taker.tasks == threads * rounds);
  // A sign that was left more than once is seen at least once.
  CHECK(taker.first > 0);
  CHECK(taker.second > 0);
  const std::uint64_t before = taker.first;
  taker.take(Taker::signs[0]);
  CHECK(taker.first == before + 1);
  CHECK_FALSE(taker.turn.is_inside_here());
}

TEST_CASE("turns: who comes while another is inside goes, and it is done before the other leaves") {
  Taker taker;
  Gate gate;
  gate.shut();
  std::thread inside([&] {
    taker.turn.add([&] { gate.pass(); });
    taker.take(Turn::tasks);
  });
  gate.wait_until_held();
  std::thread::id ran;
  taker.turn.add([&] { ran = std::this_thread::get_id(); });
  taker.take(Turn::tasks | Taker::signs[0]);
  CHECK_FALSE(taker.turn.is_inside_here());
  const std::thread::id other = inside.get_id();
  gate.open();
  inside.join();
  CHECK(ran == other);
  CHECK(taker.first == 1);
}

TEST_CASE("loops: while handlers of a loop are stuck, its others run, and the threads that were lent come back") {
  Log log{LogFormat::text, LogLevel::error};
  BlockingPool::Options options;
  options.idle = 50ms;
  SharedThreads threads{1, options, log};
  Worker& worker = *threads.loops.reader(0);
  Gate gate;
  std::atomic<int> done{0};
  std::atomic<int> stuck{0};
  const int at_once = GENERATE(1, 5);
  for (int round = 0; round < 3; ++round) {
    gate.shut();
    done = stuck = 0;
    for (int i = 0; i < at_once; ++i) {
      worker.post([&] {
        const Worker::Busy busy;
        ++stuck;
        gate.pass();
        --stuck;
      });
      wait_until([&] { return stuck == i + 1; });
    }
    for (int i = 0; i < 100; ++i) worker.post([&] { ++done; });
    wait_until([&] { return done == 100; });
    CHECK(stuck == at_once);
    gate.open();
    wait_until([&] { return stuck == 0; });
    // The loop is its own thread's again.
    wait_until([&] { return threads.disk.load().running == 0; });
  }
  std::set<std::thread::id> ran;
  for (int i = 0; i < 100; ++i) {
    worker.post([&] { ran.insert(std::this_thread::get_id()), ++done; });
    wait_until([&] { return done == 101 + i; });
  }
  CHECK(ran.size() == 1);
  wait_until([&] { return threads.disk.load().threads <= 2; });
}

TEST_CASE("turns: whoever stepped out keeps the others out until another thread has come back for it") {
  Taker taker;
  REQUIRE(taker.turn.enter(0));
  taker.turn.step_out();
  CHECK_FALSE(taker.turn.is_inside_here());
  taker.take(Taker::signs[0]);
  CHECK(taker.first == 0);
  std::thread other([&] {
    taker.turn.come_back();
    for (unsigned left = taker.turn.next(); left != 0; left = taker.turn.next())
      if ((left & Taker::signs[0]) != 0) ++taker.first;
  });
  other.join();
  CHECK(taker.first == 1);
  taker.take(Taker::signs[0]);
  CHECK(taker.first == 2);
}

TEST_CASE("loops: short things now and then are looked at in slow steps, and what somebody waits for at once") {
  struct Now : Ticked {
    Looked look() noexcept override {
      ++looks;
      return moved.exchange(false) ? Looked::moved : Looked::quiet;
    }
    std::atomic<bool> moved{false};
    std::atomic<int> looks{0};
  } now;
  constexpr auto step = 2ms;
  Ticker ticker(step);
  ticker.add(now);
  const auto begin_one = [&] {
    now.moved = true;
    ticker.note();
    wait_until([&] { return !now.moved; });
  };
  for (int i = 0; i < 10; ++i) begin_one();
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) begin_one();
  CHECK(std::chrono::steady_clock::now() - began >= 4 * Ticker::slow_steps * step);
  const int looks_before = now.looks;
  ticker.wake();
  wait_until([&] { return now.looks > looks_before; });
  ticker.remove(now);
}

TEST_CASE("loops: what many are stuck in takes half of the pool and no more, and the rest is done in the end") {
  Log log{LogFormat::text, LogLevel::error};
  BlockingPool::Options options;
  options.threads_max = 12;
  SharedThreads threads{1, options, log};
  Loops& loops = threads.loops;
  constexpr int handlers = 60;
  Gate gate;
  gate.shut();
  struct Handler {
    Loops* loops;
    StuckCalls* calls;
    Gate* gate;
    Worker* worker;
    std::atomic<int>* done;
    Loops::Wait wait{1};
    void run() {
      wait.front().object = not_owned(this);
      wait.front().begin = [](Loops::Wait node) {
        auto* const handler = static_cast<Handler*>(node.front().object.get());
        handler->wait.swap(node);
        handler->worker->post([handler] { handler->run(); });
      };
      if (loops->wait_for_calls(*calls, wait)) return;
      const Worker::Busy busy(calls);
      gate->pass();
      ++*done;
    }
  };
  const HeldCalls first = loops.take_calls();
  const HeldCalls second = loops.take_calls();
  std::atomic<int> done{0};
  std::list<Handler> all;
  for (int i = 0; i < handlers; ++i) {
    all.push_back({&loops, (i % 2 == 0 ? first : second).get(), &gate, loops.reader(0).get(), &done, Loops::Wait(1)});
    all.back().worker->post([handler = &all.back()] { handler->run(); });
  }
  std::atomic<int> others{0};
  for (int i = 0; i < 100; ++i) loops.reader(0)->post([&] { ++others; });
  wait_until([&] { return others == 100; });
  CHECK(threads.disk.room() > 0);
  Strand strand(threads.disk);
  strand.submit([&] { ++others; });
  wait_until([&] { return others == 101; });
  CHECK(done == 0);
  gate.open();
  wait_until([&] { return done == handlers; });
  wait_until([&] { return first->count() == 0 && second->count() == 0; });
}

TEST_CASE("loops: they end although their threads were lent some") {
  Log log{LogFormat::text, LogLevel::error};
  Gate gate;
  gate.shut();
  std::atomic<int> done{0};
  std::thread opener;
  {
    SharedThreads threads{1, {}, log};
    Worker& worker = *threads.loops.writer(0);
    worker.post([&] {
      const Worker::Busy busy;
      gate.pass();
    });
    worker.post([&] { ++done; });
    wait_until([&] { return done == 1; });
    opener = std::thread([&] { gate.open(); });
  }
  opener.join();
}

}  // namespace pageserver::test
