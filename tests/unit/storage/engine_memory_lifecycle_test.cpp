// Memory, and threads, that run out in a checkpoint, and where a store is opened, recovered and closed.
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "storage/embedded/embedded_store.hpp"
#include "tests/unit/storage/memory_world.hpp"

namespace pageserver::test {

TEST_CASE("memory runs out in a checkpoint") {
  const bool pins = GENERATE(false, true);
  const Operation set_up = [pins](MemoryWorld& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.log_bytes = 32 << 10;
    world.options.segment_bytes = 10 << 10;
    world.options.checkpoint_step_bytes = 8 << 10;
    world.reopen();
    world.become(Publish::on_write);
    if (pins) world.pinned = world.open_reader(View::pinned);
    world.pages_after = base_pages + 1;
    world.writer->grow(1);
    world.grown = true;
  };
  std::vector<Step> steps{{{{2 * page, 2 * page, 0}}}};
  for (std::uint64_t i = 0; i < 3; ++i) steps.push_back({{{(10 + i) * page + 8, 9000}}});
  fail_each_allocation(steps, set_up, [](MemoryWorld& world) {
    for (Step& step : world.steps) {
      write_step(world, step);
      world.run_lanes();
      static_cast<void>(world.store->stat(2000));
    }
  });
}

TEST_CASE("memory runs out when a store is closed") {
  const Operation set_up = [](MemoryWorld& world) { write_all(world); };
  fail_each_allocation({{{{3 * page, 3000}}}, {{{8 * page, 2 * page, 0}}}}, set_up, [](MemoryWorld& world) {
    world.writer = nullptr;
    const auto closing = std::move(world.store);
    closing->close();
  });
}

TEST_CASE("memory runs out in a recovery") {
  const Operation set_up = [](MemoryWorld& world) {
    write_all(world);
    world.writer = nullptr;
    world.store = nullptr;
  };
  fail_each_allocation({{{{3 * page, 3000}}}, {{{8 * page, 2 * page, 0}}}}, set_up,
                       [](MemoryWorld& world) { world.reopen(); });
}

TEST_CASE("a store that has no thread for one of its lanes is not opened, and nothing is left of the attempt") {
  TempDir folder;
  FaultyFileSystem files;
  storage::EmbeddedOptions options;
  options.file_system = &files;
  const bool exists = GENERATE(false, true);
  const std::string path = folder.file("db.img");
  if (exists) storage::open_embedded_store(path, options)->grow(1);
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, std::filesystem::directory_iterator{});
  };
  const auto threads_before = threads();
  for (std::uint64_t at = 1; at <= 2; ++at) {
    std::optional<MemoryError> refused;
    bool failed = false;
    {
      const FailingThreads none(at);
      refused = thrown_by([&] { storage::open_embedded_store(path, options); });
      failed = none.failed();
    }
    CHECK(failed);
    REQUIRE(refused);
    check_error(*refused, Errc::limit_exceeded, {path, "needs 2 threads", "ulimit -u"});
    CHECK(files.open_files() == 0);
    CHECK(threads() == threads_before);
    CHECK(std::filesystem::exists(path) == exists);
  }
  {
    const auto session = storage::open_embedded_store(path, options);
    session->grow(1);
    session->write(0, filled(100, 1));
    session->flush();
    // The store is there: another session of it needs no thread.
    const FailingThreads none(1);
    auto asked = options;
    asked.access = Access::read;
    std::vector<std::byte> read(100);
    storage::open_embedded_store(path, asked)->read(0, read);
    CHECK(read == filled(100, 1));
  }
  CHECK(files.open_files() == 0);
  CHECK(std::filesystem::file_size(path) == (exists ? 2 : 1) * page_size);
}

}  // namespace pageserver::test
