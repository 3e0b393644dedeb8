// Memory that runs out in a transaction.
#include <new>
#include <vector>

#include "tests/unit/storage/memory_world.hpp"

namespace pageserver::test {

TEST_CASE("memory runs out in a transaction") {
  const bool pins = GENERATE(false, true);
  std::vector<Step> steps{{{{3 * page + 10, 8}, {5 * page - 16, 64}, {6 * page, page, 0}, {9 * page, 9000}}}};
  const Operation set_up = [pins](MemoryWorld& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
    world.become(Publish::on_flush);
    world.pages_after = base_pages + 2;
  };
  fail_each_allocation(steps, set_up, [](MemoryWorld& world) {
    world.writer->grow(2);
    commit_all(world);
    world.grown = true;
    world.pages_seen = world.writer->pages();
  });
}

TEST_CASE("memory runs out in a transaction that is spilled and committed in the background") {
  std::vector<Step> steps = wide_step(7);
  const Operation set_up = [](MemoryWorld& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.private_memory_bytes = 8 << 10;
    world.options.inline_commit_bytes = 12 << 10;
    world.reopen();
    world.become(Publish::on_flush);
  };
  fail_each_allocation(steps, set_up, commit_all);
}

TEST_CASE("memory runs out while a large transaction is entered in parts") {
  const bool pins = GENERATE(false, true);
  const Operation set_up = [pins](MemoryWorld& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.index_entries_at_once = 3;
    world.reopen();
    if (pins) world.pinned = world.open_reader(View::pinned);
    world.become(Publish::on_flush);
    for (Step& step : world.steps) world.write(*world.writer, step);
  };
  fail_each_allocation(wide_step(10), set_up, [](MemoryWorld& world) {
    try {
      world.flush(*world.writer);
    } catch (...) {
      world.commit_refused = world.flush_refused;
      throw;
    }
    world.steps[0].answered = true;
  });
}

TEST_CASE("a transaction that memory was missing for is there after the next flush or gone after a discard") {
  const bool discards = GENERATE(false, true);
  const bool forever = GENERATE(false, true);
  const bool in_parts = GENERATE(false, true);
  const auto steps = wide_step(20);
  bool retried = false;
  for (std::uint64_t at = 1;; ++at) {
    INFO("allocation " << at << (forever ? " and all after it" : ""));
    MemoryWorld world{steps};
    if (in_parts) {
      world.writer = nullptr;
      world.store->close();
      world.options.index_entries_at_once = 3;
      world.reopen();
    }
    world.become(Publish::on_flush);
    for (Step& step : world.steps) world.write(*world.writer, step);
    world.writer->grow(2);
    world.pages_after = base_pages + 2;
    bool failed = false, answered = false;
    {
      const FailingMemory failing{at, forever};
      try {
        world.flush(*world.writer);
        answered = true;
      } catch (const std::bad_alloc&) {
      } catch (const MemoryError&) {
      }
      failed = failing.failed();
    }
    if (!answered) {
      retried = true;
      CHECK(world.store->stat(2000).pages == base_pages);
      if (discards) {
        CHECK(world.writer->discard().pages == base_pages);
        world.steps[0].refused = true;
        world.pages_after = std::nullopt;
      } else {
        world.flush(*world.writer);
        answered = true;
      }
    }
    if (answered) {
      CHECK(world.writer->pages() == base_pages + 2);
      world.steps[0].answered = world.grown = true;
    }
    check_world(world, true);
    if (!failed) break;
  }
  CHECK(retried);
}

}  // namespace pageserver::test
