// Where a store's tasks run, and how many do.
#include <thread>

#include "base/mutex.hpp"
#include "storage/engine/lanes.hpp"
#include "storage/engine/running_tasks.hpp"
#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::Background;
using storage::Lanes;
using storage::RunningTasks;

struct CountingLane : Background {
  void submit_ready(Ready task) noexcept override { submitted += task.size(); }
  std::size_t submitted = 0;
};

Background::Ready nothing_to_do() {
  Background::Ready ready;
  ready.push_back([] {});
  return ready;
}

TEST_CASE("lanes: one sync is on its way at a time, and the next once that has begun") {
  CountingLane sync_lane, checkpoint_lane;
  Lanes lanes{sync_lane, checkpoint_lane};
  CHECK_FALSE(lanes.sync_scheduled());
  lanes.submit_sync(nothing_to_do());
  lanes.submit_sync(nothing_to_do());
  CHECK(lanes.sync_scheduled());
  CHECK(sync_lane.submitted == 1);
  lanes.sync_begins();
  lanes.submit_sync(nothing_to_do());
  CHECK(sync_lane.submitted == 2);
  CHECK(checkpoint_lane.submitted == 0);
}

TEST_CASE("lanes: one look that settles the image is on its way at a time") {
  CountingLane sync_lane, checkpoint_lane;
  Lanes lanes{sync_lane, checkpoint_lane};
  CHECK(lanes.claim_settling());
  CHECK_FALSE(lanes.claim_settling());
  lanes.settling_begins();
  CHECK(lanes.claim_settling());
  lanes.submit_to_checkpoint_lane(nothing_to_do());
  CHECK(checkpoint_lane.submitted == 1);
  CHECK(sync_lane.submitted == 0);
}

TEST_CASE("running tasks: none begins once they are stopped, and the end of the last is waited for") {
  Mutex mutex;
  RunningTasks tasks;
  {
    const Lock lock{mutex};
    REQUIRE(tasks.begin());
    REQUIRE(tasks.begin());
    tasks.stop();
    CHECK(tasks.stopping());
    CHECK_FALSE(tasks.begin());
    tasks.end();
  }
  bool last_ended = false;
  std::thread last{[&] {
    const Lock lock{mutex};
    last_ended = true;
    tasks.end();
  }};
  {
    Lock lock{mutex};
    tasks.await_none(lock);
    CHECK(last_ended);
  }
  last.join();
}

TEST_CASE("running tasks: what else has to hold is looked at again when somebody says so") {
  Mutex mutex;
  RunningTasks tasks;
  bool reads_ended = false;
  std::thread reader{[&] {
    const Lock lock{mutex};
    reads_ended = true;
    tasks.notify();
  }};
  {
    Lock lock{mutex};
    tasks.await_none(lock, [&] { return reads_ended; });
    CHECK(reads_ended);
  }
  reader.join();
}

}  // namespace
}  // namespace pageserver::test
