// The pool for calls that may take long: order, growth while calls are stuck, bounds, and threads that can't be had.
#include "tests/support/catch.hpp"

#include <atomic>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iterator>
#include <list>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "server/runtime/blocking_pool.hpp"
#include "tests/daemon/slow_files.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/storage/failing_resources.hpp"

namespace pageserver::test {
namespace {

using namespace pageserver::server;
using namespace std::chrono_literals;

BlockingPool::Options small_pool() {
  BlockingPool::Options options;
  options.threads_at_once = 2;
  options.threads_slow = 4;
  options.threads_max = 6;
  options.stuck = 1ms;
  options.idle = 20ms;
  return options;
}

/// A gate for those who wait, and how many do.
struct Held {
  Gate gate;
  std::atomic<int> inside{0};
  std::atomic<int> done{0};
  Held() { gate.shut(); }
  void operator()() {
    ++inside;
    gate.pass();
    ++done;
  }
};

}  // namespace

TEST_CASE("a strand runs its tasks one at a time and in order, whoever submits them, and before it ends") {
  Ticker ticker(1ms);
  BlockingPool pool(ticker, small_pool());
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::vector<int> order;  // no lock: that is what a strand is for
  {
    Strand strand(pool);
    for (int i = 0; i < 1000; ++i) {
      strand.submit([&, i] {
        if (++inside != 1) overlapped = true;
        order.push_back(i);
        if (i == 999) strand.submit([&] { order.push_back(1000); });
        --inside;
      });
    }
  }
  CHECK_FALSE(overlapped);
  REQUIRE(order.size() == 1001);
  for (int i = 0; i <= 1000; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("while calls of some strands are stuck, those of others are done, and the pool is small again later") {
  Ticker ticker(1ms);
  BlockingPool pool(ticker, small_pool());
  Held held;
  std::list<Strand> stuck;
  std::list<Strand> others;
  std::atomic<int> done{0};
  for (int i = 0; i < 5; ++i) stuck.emplace_back(pool).submit([&] { held(); });
  wait_until([&] { return held.inside == 5; });
  CHECK(pool.load().threads >= 5);
  for (int i = 0; i < 100; ++i) others.emplace_back(pool).submit([&] { ++done; });
  wait_until([&] { return done == 100; });
  CHECK(held.done == 0);
  held.gate.open();
  wait_until([&] { return held.done == 5; });
  wait_until([&] { return pool.load().threads == 2; });
  CHECK(pool.load().waiting == 0);
}

TEST_CASE("strands of one disk leave an eighth of the threads to those of others, and are all done in the end") {
  Ticker ticker(1ms);
  BlockingPool::Options options = small_pool();
  options.threads_max = 16;
  BlockingPool pool(ticker, options);
  StrandGroup slow, other;
  pool.note_group();
  pool.note_group();
  Held held;
  std::atomic<int> done{0};
  {
    std::list<Strand> strands;
    for (int i = 0; i < 40; ++i) strands.emplace_back(pool, &slow).submit([&] { held(); });
    wait_until([&] { return held.inside == 14; });
    for (int i = 0; i < 100; ++i) strands.emplace_back(pool, &other).submit([&] { ++done; });
    wait_until([&] { return done == 100; });
    CHECK(held.inside == 14);
    // One that is held back ends like any other.
    Strand unneeded(pool, &slow);
    unneeded.submit([&] { ++done; });
    held.gate.open();
  }
  CHECK(done == 101);
  CHECK(held.done == 40);
}

TEST_CASE("work that waits because other work computes gets no further threads") {
  Ticker ticker(1ms);
  BlockingPool::Options options = small_pool();
  options.idle = 1h;  // what was made is still there at the end
  BlockingPool pool(ticker, options);
  std::atomic<int> done{0};
  {
    std::list<Strand> strands;
    for (int i = 0; i < 300; ++i) {
      strands.emplace_back(pool).submit([&done] {
        const auto cpu = [] { return std::clock() * 1000 / CLOCKS_PER_SEC; };
        for (const auto begin = cpu(); cpu() - begin < 1;) {
        }
        ++done;
      });
    }
    wait_until([&] { return done == 300; });
  }
  CHECK(pool.load().threads <= small_pool().threads_at_once);
}

TEST_CASE("patient work is done by a few threads, also where those are stuck, and wakes no others") {
  Ticker ticker(1ms);
  BlockingPool::Options options = small_pool();
  options.idle = 1h;
  options.stuck = 300ms;  // not so soon that a busy machine seems to be stuck
  BlockingPool pool(ticker, options);
  std::list<Strand> strands;
  for (int i = 0; i < 100; ++i) strands.emplace_back(pool);
  Held held;
  for (Strand& strand : strands) strand.submit([&held] { held(); });
  wait_until([&] { return held.inside == 6; });
  held.gate.open();
  wait_until([&] { return held.done == 100; });
  // All six are there, and idle.
  std::mutex mutex;
  std::set<std::thread::id> used;
  std::atomic<int> done{0};
  wait_until([&] { return pool.load().running == 0; });
  for (Strand& strand : strands) {
    strand.submit_patient([&] {
      const std::lock_guard lock(mutex);
      used.insert(std::this_thread::get_id());
      ++done;
    });
  }
  wait_until([&] { return done == 100; });
  CHECK(used.size() <= options.threads_at_once);
  held.gate.shut();
  held.inside = 0;
  for (Strand& strand : strands) strand.submit_patient([&held] { held(); });
  wait_until([&] { return held.inside == 6; });
  held.gate.open();
  strands.clear();
}

TEST_CASE("patient work that often waits for a moment gets no further threads, however much there is") {
  Ticker ticker(1ms);
  BlockingPool::Options options;
  options.stuck = 1ms;
  options.patience = 1h;  // on a machine that stands still for a while nothing else can be told
  BlockingPool pool(ticker, options);
  std::list<Strand> strands;
  std::atomic<int> done{0};
  std::size_t most = 0;
  for (int i = 0; i < 2000; ++i) {
    strands.emplace_back(pool).submit_patient([&] {
      std::this_thread::sleep_for(1ms);  // as a disk that answers, with every thread in the kernel at times
      ++done;
    });
  }
  wait_until([&] {
    most = std::max(most, pool.load().threads);
    return done == 2000;
  });
  CHECK(most <= options.threads_at_once);
}

TEST_CASE("work that can't wait gets its threads although thousands of patient tasks wait as well") {
  Ticker ticker(1ms);
  BlockingPool::Options options = small_pool();
  options.patience = 1h;
  BlockingPool pool(ticker, options);
  std::list<Strand> strands;
  Held held;
  for (int i = 0; i < 1000; ++i) strands.emplace_back(pool).submit_patient([&] { held(); });
  wait_until([&] { return held.inside == 2; });
  CHECK(pool.load().threads == options.threads_at_once);
  // A patient one that is wanted at once now; it is served in its turn, for which all before it must have a thread.
  Strand& last = strands.back();
  last.submit([&] { held(); });
  wait_until([&] { return held.inside == 6; });
  held.gate.open();
  wait_until([&] { return held.done == 1001; });
}

TEST_CASE("the pool never has more threads than its bound, and what waits is done once calls come back") {
  Ticker ticker(1ms);
  BlockingPool pool(ticker, small_pool());
  Held held;
  std::list<Strand> strands;
  for (int i = 0; i < 20; ++i) strands.emplace_back(pool).submit([&] { held(); });
  wait_until([&] { return held.inside == 6; });
  const auto looked_until = std::chrono::steady_clock::now() + 50ms;
  while (std::chrono::steady_clock::now() < looked_until) {
    REQUIRE(held.inside == 6);
    REQUIRE(pool.load().threads == 6);
    std::this_thread::yield();
  }
  CHECK(pool.load().waiting == 14);
  held.gate.open();
  wait_until([&] { return held.done == 20; });
}

TEST_CASE("a strand ends although the pool is stuck: what is left of it runs where it ends") {
  Ticker ticker(1ms);
  BlockingPool pool(ticker, small_pool());
  Held held;
  std::list<Strand> strands;
  for (int i = 0; i < 6; ++i) strands.emplace_back(pool).submit([&] { held(); });
  wait_until([&] { return held.inside == 6; });
  std::thread::id ran;
  {
    Strand strand(pool);
    strand.submit([&] { ran = std::this_thread::get_id(); });
  }
  CHECK(ran == std::this_thread::get_id());
  held.gate.open();
}

TEST_CASE("a pool that gets no more threads goes on with those that it has, and grows once there are some") {
  Ticker ticker(1ms);
  Held held;
  std::atomic<int> done{0};
  {
    const FailingThreads none(1);
    bool threw = false;
    try {
      const BlockingPool pool(ticker, small_pool());
    } catch (const std::system_error&) {
      threw = true;
    }
    CHECK(threw);
  }
  BlockingPool pool(ticker, small_pool());
  Strand holding(pool);
  std::list<Strand> strands;
  {
    const FailingThreads none(1, true);
    for (int i = 0; i < 50; ++i) strands.emplace_back(pool).submit([&] { ++done; });
    wait_until([&] { return done == 50; });
    holding.submit([&] { held(); });
    wait_until([&] { return held.inside == 1; });
    strands.front().submit([&] { ++done; });
    wait_until([&] { return none.failed(); });
    CHECK(pool.load().threads == 1);
    CHECK(done == 50);
  }
  wait_until([&] { return done == 51; });  // by another thread
  CHECK(held.done == 0);
  held.gate.open();
}

TEST_CASE("a pool that finds no memory or no thread when it is made leaves nothing behind") {
  bool more = true;
  for (std::uint64_t at = 1; more; ++at) {
    REQUIRE(at < 1000);
    Ticker ticker(1ms);
    bool threw = false;
    const FailingMemory none(at);
    try {
      const BlockingPool pool(ticker, small_pool());
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    more = none.failed();
    if (!more && threw) std::terminate();
  }
}

TEST_CASE("what a task holds is released before the strand's next one begins, and where nothing is left to do") {
  Ticker ticker(1ms);
  BlockingPool pool(ticker, small_pool());
  Strand strand(pool);
  auto token = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = token;
  std::atomic<bool> gone{false};
  strand.submit([token] {});
  token.reset();
  strand.submit([&] { gone = watched.expired(); });
  wait_until([&] { return gone.load(); });
}

}  // namespace pageserver::test
