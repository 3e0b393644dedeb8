#include <future>
#include <thread>

#include "storage/callback_gate.hpp"
#include "storage/fair_shared_mutex.hpp"
#include "storage/thread_background.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {

TEST_CASE("a lane runs its tasks in order, on its own thread, and all of them before it ends") {
  std::vector<int> order;
  std::thread::id runner;
  {
    storage::ThreadBackground lane;
    for (int i = 0; i < 100; ++i) {
      lane.submit([&, i] {
        runner = std::this_thread::get_id();
        order.push_back(i);
        if (i == 99) lane.submit([&] { order.push_back(1000); });
      });
    }
  }
  REQUIRE(order.size() == 101);
  for (int i = 0; i < 100; ++i) CHECK(order[static_cast<std::size_t>(i)] == i);
  CHECK(order.back() == 1000);
  CHECK(runner != std::this_thread::get_id());
}

TEST_CASE("a gate lets nothing run after its end") {
  storage::CallbackGate gate;
  int runs = 0;
  gate.run([&] { ++runs; });
  CHECK_FALSE(gate.ended());
  gate.end();
  gate.run([&] { ++runs; });
  CHECK(runs == 1);
  CHECK(gate.ended());
}

TEST_CASE("the end of a gate waits for the callback that runs, but not for itself") {
  storage::CallbackGate gate;
  std::promise<void> inside, go_on;
  std::atomic<bool> finished{false};
  std::thread runner{[&] {
    gate.run([&] {
      inside.set_value();
      go_on.get_future().wait();
      finished = true;
    });
  }};
  inside.get_future().wait();
  std::thread releaser{[&] { go_on.set_value(); }};
  gate.end();
  CHECK(finished);
  runner.join();
  releaser.join();

  storage::CallbackGate other;
  other.run([&] { other.end(); });
  CHECK(other.ended());
}

TEST_CASE("a fair shared mutex is shared by readers and alone for a writer") {
  storage::FairSharedMutex mutex;
  mutex.lock_shared();
  CHECK(mutex.try_lock_shared());
  CHECK_FALSE(mutex.try_lock());
  mutex.unlock_shared();
  mutex.unlock_shared();
  CHECK(mutex.try_lock());
  std::thread{[&] { CHECK_FALSE(mutex.try_lock_shared()); }}.join();
  mutex.unlock();
}

}  // namespace pageserver::test
