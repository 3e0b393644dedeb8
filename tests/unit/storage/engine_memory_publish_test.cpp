// Memory that runs out in what is published at once.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/unit/storage/memory_world.hpp"

namespace pageserver::test {
namespace {

using storage::StoreSession;

}  // namespace

TEST_CASE("memory runs out in a write") {
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{4 * page - 100, 200}}}}, nothing, write_all);
}

TEST_CASE("memory runs out in a write below a pin") {
  const Operation pin = [](MemoryWorld& world) { world.pinned = world.open_reader(View::pinned); };
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{4 * page - 100, 200}}}}, pin, write_all);
}

TEST_CASE("memory runs out in small writes to a page of many") {
  const bool pins = GENERATE(false, true);
  const Operation set_up = [pins](MemoryWorld& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(small_steps(40), set_up, write_all);
}

TEST_CASE("memory runs out in a group of writes") {
  const bool pins = GENERATE(false, true);
  std::vector<Step> steps{{{{3 * page + 10, 8}, {5 * page - 16, 64}, {9 * page, 3000}, {11 * page + 7, 8}}}};
  const Operation set_up = [pins](MemoryWorld& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(steps, set_up, [](MemoryWorld& world) {
    std::vector<std::vector<std::byte>> data;
    std::vector<StoreSession::Write> writes;
    for (const Change& change : world.steps[0].changes) data.push_back(filled(change.length, after));
    for (std::size_t i = 0; i < data.size(); ++i) writes.push_back({world.steps[0].changes[i].offset, data[i]});
    world.steps[0].refused = true;
    world.steps[0].answered = world.writer->write_together(writes);
    world.steps[0].refused = !world.steps[0].answered;
  });
}

TEST_CASE("memory runs out when zeros are written") {
  const bool pins = GENERATE(false, true);
  std::vector<Step> steps{{{{3 * page + 100, 3 * page, 0}}}, {{{8 * page, 2 * page, 0}}}, {{{12 * page + 5, 100, 0}}}};
  const Operation set_up = [pins](MemoryWorld& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(steps, set_up, write_all);
}

TEST_CASE("memory runs out when the image grows") {
  const Operation set_up = [](MemoryWorld& world) { world.pages_after = base_pages + 3; };
  fail_each_allocation({}, set_up, [](MemoryWorld& world) {
    world.writer->grow(3);
    world.grown = true;
  });
}

TEST_CASE("memory runs out in writes, a flush and what follows it") {
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{40 * page, 70'000}}}}, nothing, [](MemoryWorld& world) {
    write_all(world);
    world.flush(*world.writer);
  });
}

TEST_CASE("memory runs out in writes that go over several files of the log") {
  std::vector<Step> steps;
  for (std::uint64_t i = 0; i < 4; ++i) steps.push_back({{{(20 + 3 * i) * page, 5000}}});
  const Operation set_up = [](MemoryWorld& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.segment_bytes = 16 << 10;
    world.options.log_bytes = 64 << 10;
    world.reopen();
    world.become(Publish::on_write);
  };
  fail_each_allocation(steps, set_up, [](MemoryWorld& world) {
    for (Step& step : world.steps) {
      write_step(world, step);
      world.run_lanes();
    }
    world.flush(*world.writer);
  });
}

TEST_CASE("memory runs out when a file of the log is used again") {
  for (std::uint64_t at = 1;; ++at) {
    INFO("allocation " << at);
    MemoryWorld world{{{{{10 * page + 8, 9000}}}}};
    world.writer = nullptr;
    world.store->close();
    world.options.log_bytes = 112 << 10;
    world.options.segment_bytes = 28 << 10;
    world.reopen();
    world.become(Publish::on_write);
    for (int i = 0; i < 12; ++i) {
      world.writer->write(20 * page, filled(10'000, i));
      world.flush(*world.writer);
    }
    const auto files_with = [&](const std::string& part) {
      std::size_t count = 0;
      for (const auto& entry : std::filesystem::directory_iterator(world.folder.path()))
        count += entry.path().filename().string().find(part) != std::string::npos ? 1u : 0u;
      return count;
    };
    const std::size_t spares = files_with(".spare."), logs = files_with(".log.");
    REQUIRE(spares > 0);
    const bool failed = write_all_without_memory(world, at);
    // What was refused leaves no file of the log. The spare one may be gone, which only costs a new one.
    CHECK(files_with(".log.") == logs + (world.steps[0].answered ? 1 : 0));
    CHECK(files_with(".spare.") <= spares);
    check_world(world, at % 2 == 0);
    if (!failed) break;
  }
}

}  // namespace pageserver::test
