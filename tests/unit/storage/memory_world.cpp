#include "tests/unit/storage/memory_world.hpp"

#include <new>
#include <stdexcept>

namespace pageserver::test {

std::vector<bool> visible_steps(MemoryWorld& world, storage::StoreSession& session) {
  std::vector<bool> visible;
  for (const Step& step : world.steps) {
    std::size_t there = 0;
    for (const Change& change : step.changes) {
      const auto bytes = read_from(session, change.offset, change.length);
      const bool changed = bytes == filled(change.length, change.value);
      if (!changed && bytes != filled(change.length, before)) FAIL("neither old nor new at " << change.offset);
      if (changed) ++there;
    }
    if (there != 0 && there != step.changes.size()) FAIL(there << " of " << step.changes.size() << " are visible");
    if (step.answered && there == 0) FAIL("what was answered is gone");
    if (step.refused && there != 0) FAIL("what was refused is there");
    visible.push_back(there != 0);
  }
  return visible;
}

void check_world(MemoryWorld& world, bool kills) {
  world.run_lanes();
  if (world.store == nullptr) world.reopen();
  if (world.pinned) {
    for (const Step& step : world.steps)
      for (const Change& change : step.changes)
        if (read_from(*world.pinned, change.offset, change.length) != filled(change.length, before))
          FAIL("a pinned reader sees another version at " << change.offset);
  }
  world.writer = nullptr;
  world.pinned = nullptr;
  world.extra = nullptr;
  world.run_lanes();
  const auto now = [&] { return world.store->stat(2000); };
  const Stat idle = now();
  CHECK(idle.sessions_live + idle.sessions_pinned + idle.sessions_write + idle.sessions_fork == 0);
  CHECK(idle.fork_bytes == 0);
  CHECK_FALSE(idle.oldest_holder);
  // No sync failed: what memory was missing for costs nobody the store.
  CHECK(idle.last_sync_error == "");
  if (world.commit_refused) {
    for (Step& step : world.steps) step.refused = true;
    world.pages_after = std::nullopt;
  }

  auto reader = world.open_reader();
  const auto seen = visible_steps(world, *reader);
  const std::uint64_t pages = reader->pages();
  CHECK(idle.pages == pages);
  if (world.pages_seen) CHECK(*world.pages_seen == *world.pages_after);
  if (world.grown) CHECK(pages == *world.pages_after);
  if (!world.grown) CHECK((pages == base_pages || pages == world.pages_after));
  bool marked = false;
  std::string refusal;
  // After a failed checkpoint the next write is refused, and has it tried again.
  for (int tries = 0; tries < 2 && !marked; ++tries) {
    try {
      const auto writer = world.open_writer();
      writer->write(mark_at, filled(8, mark));
      world.flush(*writer);
      marked = true;
    } catch (const MemoryError& error) {
      refusal = error.what();
      world.run_lanes();
    }
  }
  INFO(refusal);
  CHECK(marked);
  world.run_lanes();
  CHECK(visible_steps(world, *reader) == seen);
  reader = nullptr;
  if (!kills) world.store->close();
  world.reopen();
  reader = world.open_reader();
  const auto found = visible_steps(world, *reader);
  CHECK(found == seen);
  CHECK(reader->pages() == pages);
  CHECK(read_from(*reader, mark_at, 8) == filled(8, mark));
}

namespace {

void fail_each_allocation(const std::vector<Step>& steps, const Operation& set_up, const Operation& run, bool forever) {
  constexpr std::uint64_t allocations_max = 20000;
  for (std::uint64_t at = 1;; ++at) {
    REQUIRE(at < allocations_max);
    INFO("allocation " << at << (forever ? " and all after it" : ""));
    MemoryWorld world{steps};
    set_up(world);
    bool failed = false;
    {
      const FailingMemory failing{at, forever};
      try {
        run(world);
      } catch (const MemoryError&) {
      } catch (const std::bad_alloc&) {
      }
      failed = failing.failed();
    }
    check_world(world, at % 3 != 0);
    if (!failed) return;
  }
}

}  // namespace

void fail_each_allocation(const std::vector<Step>& steps, const Operation& set_up, const Operation& run) {
  fail_each_allocation(steps, set_up, run, false);
  fail_each_allocation(steps, set_up, run, true);
}

std::vector<Step> small_steps(std::size_t count, std::uint64_t first_page) {
  std::vector<Step> steps;
  for (std::size_t i = 0; i < count; ++i) steps.push_back({{{first_page * page + i * 64, 24}}});
  return steps;
}

std::vector<Step> wide_step(std::size_t count) {
  Step step;
  for (std::size_t i = 0; i < count; ++i) step.changes.push_back({(i + 1) * page + 8, 600});
  return {step};
}

void write_step(MemoryWorld& world, Step& step) {
  step.refused = true;
  world.write(*world.writer, step);
  step.refused = false;
  step.answered = true;
}

void write_all(MemoryWorld& world) {
  for (Step& step : world.steps) write_step(world, step);
}

bool write_all_without_memory(MemoryWorld& world, std::uint64_t at) {
  const FailingMemory failing{at};
  try {
    write_all(world);
  } catch (const MemoryError&) {
  } catch (const std::bad_alloc&) {
  }
  return failing.failed();
}

void commit_all(MemoryWorld& world) {
  for (Step& step : world.steps) world.write(*world.writer, step);
  try {
    world.flush(*world.writer);
  } catch (...) {
    world.commit_refused = world.flush_refused;
    throw;
  }
  for (Step& step : world.steps) step.answered = true;
}

}  // namespace pageserver::test
