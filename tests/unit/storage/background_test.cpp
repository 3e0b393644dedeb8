#include <future>
#include <thread>

#include "storage/engine/thread_background.hpp"
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

}  // namespace pageserver::test
