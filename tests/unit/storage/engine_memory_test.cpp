// Memory that runs out: every allocation of every operation fails once, and, in other runs, that one and all after it.
// Then the store goes on, is killed or closed, and opened again. What was answered is there, what was refused is there
// as a whole or not at all, and nobody is left holding what nobody can give back.
#include "tests/support/catch.hpp"

#include <filesystem>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "storage/embedded/embedded_store.hpp"
#include "storage/engine/private_bytes.hpp"
#include "storage/engine/thread_background.hpp"
#include "tests/unit/storage/engine_test.hpp"
#include "tests/unit/storage/failing_resources.hpp"

namespace pageserver::test {
namespace {

using storage::StoreSession;

/// What syncs would add is of no matter to a kill, and takes long.
class UnsyncedFiles final : public FaultyFileSystem {
public:
  storage::IoResult sync_data(int) override { return {0, 0}; }
  storage::IoResult sync(int) override { return {0, 0}; }
};

constexpr int before = 0x11;
constexpr int after = 0x22;
constexpr int mark = 0x33;
constexpr std::uint64_t page = page_size;
constexpr std::uint64_t base_pages = 60;
constexpr std::uint64_t mark_at = 59 * page + 100;

/// A range that an operation sets to a value; it was `before`.
struct Change {
  std::uint64_t offset;
  std::uint64_t length;
  int value = after;
};
/// What becomes visible together.
struct Step {
  std::vector<Change> changes;
  bool answered = false;
  bool refused = false;
};

/// A store in which all that an operation will change has the value `before` and is flushed.
class World {
public:
  explicit World(std::vector<Step> will_change) : steps{std::move(will_change)} {
    options.log_bytes = 8 << 20;
    options.segment_bytes = 1 << 20;
    reopen();
    writer = open_writer();
    writer->grow(base_pages);
    for (const Step& step : steps)
      for (const Change& change : step.changes) writer->write(change.offset, filled(change.length, before));
    writer->write(mark_at, filled(8, before));
    flush(*writer);
  }

  void reopen() {
    store.reset();
    ++options.salt;
    store = storage::open_engine(files, path(), sync_lane, checkpoint_lane, options);
  }
  std::string path() const { return folder.file("db.img"); }
  std::unique_ptr<StoreSession> open_writer(Publish publish = Publish::on_write, bool wait = false) {
    auto request = session_request(Access::write, "writer", wait);
    request.publish = publish;
    return open(std::move(request));
  }
  void become(Publish publish) {
    writer = nullptr;
    writer = open_writer(publish);
  }
  std::unique_ptr<StoreSession> open_reader(View view = View::live) {
    auto request = session_request(Access::read, "reader");
    request.view = view;
    return open(std::move(request));
  }
  std::unique_ptr<StoreSession> open(storage::SessionRequest request) {
    const auto opening = start_opening(*store, std::move(request));
    if (opening->error) std::rethrow_exception(opening->error);
    return std::move(opening->session);
  }
  void run_lanes() {
    while (sync_lane.run_one() || checkpoint_lane.run_one()) {
    }
  }
  void flush(StoreSession& session) {
    const auto flushing = start_flush(session);
    run_lanes();
    if (flushing->calls != 1) throw std::logic_error{"a flush was not answered"};
    flush_refused = flushing->error != nullptr;
    if (flush_refused) std::rethrow_exception(flushing->error);
  }
  void write(StoreSession& session, Step& step) {
    for (const Change& change : step.changes) {
      if (change.value == 0)
        session.zero(change.offset, change.length);
      else
        session.write(change.offset, filled(change.length, change.value));
    }
  }

  UnsyncedFiles files;
  TempDir folder;
  ManualBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<StoreSession> writer, pinned, extra;
  std::vector<Step> steps;
  std::optional<std::uint64_t> pages_after;  ///< of an operation that grows the image
  bool grown = false;                        ///< and was answered
  std::optional<std::uint64_t> pages_seen;   ///< by its session, once it was answered
  bool flush_refused = false;                ///< the last one
  bool commit_refused = false;               ///< of all steps
};

/// Which of the steps are visible to this session; fails where one is there in part.
std::vector<bool> visible_steps(World& world, StoreSession& session) {
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

/// Goes on after an operation that may have failed.
void check_world(World& world, bool kills) {
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
  // Or a record is in the log that no sync made last: what becomes of it is decided by the next start.
  if (world.commit_refused && idle.last_sync_error.empty()) {
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
  // Or nothing becomes durable any more, and it says so.
  CHECK(marked == now().last_sync_error.empty());
  world.run_lanes();
  CHECK(visible_steps(world, *reader) == seen);
  reader = nullptr;
  const bool sound = now().last_sync_error.empty();
  if (!kills && sound) world.store->close();
  world.reopen();
  reader = world.open_reader();
  const auto found = visible_steps(world, *reader);
  if (marked) {
    CHECK(found == seen);
    CHECK(reader->pages() == pages);
    CHECK(read_from(*reader, mark_at, 8) == filled(8, mark));
  }
}

using Operation = std::function<void(World&)>;

/// `run` once for each of its allocations, which fails, until it runs through. `set_up` has all memory.
void fail_each_allocation(const std::vector<Step>& steps, const Operation& set_up, const Operation& run, bool forever) {
  constexpr std::uint64_t allocations_max = 20000;
  for (std::uint64_t at = 1;; ++at) {
    REQUIRE(at < allocations_max);
    INFO("allocation " << at << (forever ? " and all after it" : ""));
    World world{steps};
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

void fail_each_allocation(const std::vector<Step>& steps, const Operation& set_up, const Operation& run) {
  fail_each_allocation(steps, set_up, run, false);
  fail_each_allocation(steps, set_up, run, true);
}

const Operation nothing = [](World&) {};

/// So many small changes in one page, each a step.
std::vector<Step> small_steps(std::size_t count, std::uint64_t first_page = 3) {
  std::vector<Step> steps;
  for (std::size_t i = 0; i < count; ++i) steps.push_back({{{first_page * page + i * 64, 24}}});
  return steps;
}

/// One change in each of so many pages, in one step.
std::vector<Step> wide_step(std::size_t count) {
  Step step;
  for (std::size_t i = 0; i < count; ++i) step.changes.push_back({(i + 1) * page + 8, 600});
  return {step};
}

/// On a writer that publishes on write, where a step is one change.
void write_step(World& world, Step& step) {
  step.refused = true;
  world.write(*world.writer, step);
  step.refused = false;
  step.answered = true;
}

void write_all(World& world) {
  for (Step& step : world.steps) write_step(world, step);
}

/// The same with one allocation failing, the `at`-th; false when there were not so many.
bool write_all_without_memory(World& world, std::uint64_t at) {
  const FailingMemory failing{at};
  try {
    write_all(world);
  } catch (const MemoryError&) {
  } catch (const std::bad_alloc&) {
  }
  return failing.failed();
}

void commit_all(World& world) {
  for (Step& step : world.steps) world.write(*world.writer, step);
  try {
    world.flush(*world.writer);
  } catch (...) {
    world.commit_refused = world.flush_refused;
    throw;
  }
  for (Step& step : world.steps) step.answered = true;
}

}  // namespace

TEST_CASE("memory runs out in a write") {
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{4 * page - 100, 200}}}}, nothing, write_all);
}

TEST_CASE("memory runs out in a write below a pin") {
  const Operation pin = [](World& world) { world.pinned = world.open_reader(View::pinned); };
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{4 * page - 100, 200}}}}, pin, write_all);
}

TEST_CASE("memory runs out in small writes to a page of many") {
  const bool pins = GENERATE(false, true);
  const Operation set_up = [pins](World& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(small_steps(40), set_up, write_all);
}

TEST_CASE("memory runs out in a group of writes") {
  const bool pins = GENERATE(false, true);
  std::vector<Step> steps{{{{3 * page + 10, 8}, {5 * page - 16, 64}, {9 * page, 3000}, {11 * page + 7, 8}}}};
  const Operation set_up = [pins](World& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(steps, set_up, [](World& world) {
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
  const Operation set_up = [pins](World& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
  };
  fail_each_allocation(steps, set_up, write_all);
}

TEST_CASE("memory runs out when the image grows") {
  const Operation set_up = [](World& world) { world.pages_after = base_pages + 3; };
  fail_each_allocation({}, set_up, [](World& world) {
    world.writer->grow(3);
    world.grown = true;
  });
}

TEST_CASE("memory runs out in writes, a flush and what follows it") {
  fail_each_allocation({{{{3 * page + 10, 8}}}, {{{40 * page, 70'000}}}}, nothing, [](World& world) {
    write_all(world);
    world.flush(*world.writer);
  });
}

TEST_CASE("memory runs out in writes that go over several files of the log") {
  std::vector<Step> steps;
  for (std::uint64_t i = 0; i < 4; ++i) steps.push_back({{{(20 + 3 * i) * page, 5000}}});
  const Operation set_up = [](World& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.segment_bytes = 16 << 10;
    world.options.log_bytes = 64 << 10;
    world.reopen();
    world.become(Publish::on_write);
  };
  fail_each_allocation(steps, set_up, [](World& world) {
    for (Step& step : world.steps) {
      write_step(world, step);
      world.run_lanes();
    }
    world.flush(*world.writer);
  });
}

TEST_CASE("memory runs out in a transaction") {
  const bool pins = GENERATE(false, true);
  std::vector<Step> steps{{{{3 * page + 10, 8}, {5 * page - 16, 64}, {6 * page, page, 0}, {9 * page, 9000}}}};
  const Operation set_up = [pins](World& world) {
    if (pins) world.pinned = world.open_reader(View::pinned);
    world.become(Publish::on_flush);
    world.pages_after = base_pages + 2;
  };
  fail_each_allocation(steps, set_up, [](World& world) {
    world.writer->grow(2);
    commit_all(world);
    world.grown = true;
    world.pages_seen = world.writer->pages();
  });
}

TEST_CASE("memory runs out in a transaction that is spilled and committed in the background") {
  std::vector<Step> steps = wide_step(7);
  const Operation set_up = [](World& world) {
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
  const Operation set_up = [pins](World& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.index_entries_at_once = 3;
    world.reopen();
    if (pins) world.pinned = world.open_reader(View::pinned);
    world.become(Publish::on_flush);
    for (Step& step : world.steps) world.write(*world.writer, step);
  };
  fail_each_allocation(wide_step(10), set_up, [](World& world) {
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
    World world{steps};
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
    if (!answered && world.store->stat(2000).last_sync_error.empty()) {
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

TEST_CASE("memory runs out when sessions are opened and end") {
  fail_each_allocation({{{{3 * page + 10, 8}}}}, nothing, [](World& world) {
    world.pinned = world.open_reader(View::pinned);
    world.extra = world.open(session_request(Access::fork, "fork"));
    world.extra->write(3 * page, filled(100, 9));
    world.extra->zero(7 * page, 5 * page);
    world.extra->grow(1);
    world.extra->discard();
    world.extra->write(3 * page + 50, filled(10'000, 9));
    write_all(world);
    world.extra = nullptr;
  });
}

TEST_CASE("memory runs out when views move") {
  const Operation set_up = [](World& world) {
    world.extra = world.open_reader(View::pinned);
    for (Step& step : world.steps) world.write(*world.writer, step);
    for (Step& step : world.steps) step.answered = true;
  };
  fail_each_allocation(small_steps(30), set_up, [](World& world) {
    static_cast<void>(world.extra->refresh());
    std::uint64_t until = 0;
    static_cast<void>(world.extra->data_ranges(0, base_pages * page, 100, until));
    std::vector<std::byte> bytes(2 * page);
    world.extra->read(3 * page, bytes);
    static_cast<void>(world.store->stat(3000));
  });
}

TEST_CASE("memory runs out when a lease is waited for, broken and handed on") {
  fail_each_allocation({{{{3 * page + 10, 8}}}}, nothing, [](World& world) {
    const auto first = start_opening(*world.store, session_request(Access::write, "first", true));
    const auto second = start_opening(*world.store, session_request(Access::write, "second", true));
    const auto refused = start_opening(*world.store, session_request(Access::write, "third"));
    world.writer->on_notice([](const MemoryError&) {});
    world.store->break_lease(0, "a reason that is too long for a string without memory of its own");
    world.run_lanes();
    if (!first->session) throw std::logic_error{"the lease was not handed on"};
    world.writer = std::move(first->session);
    write_all(world);
    world.writer = nullptr;
    if (!second->session) throw std::logic_error{"the lease was not handed on at the end"};
    world.store->cancel_wait(second->place);
  });
}

TEST_CASE("memory runs out when a wait is given up") {
  fail_each_allocation({}, nothing, [](World& world) {
    const auto waiting = start_opening(*world.store, session_request(Access::write, "first", true));
    world.store->cancel_wait(waiting->place);
    if (waiting->calls != 1) throw std::logic_error{"the wait was not answered"};
  });
}

TEST_CASE("memory runs out when a version is given up") {
  const Operation set_up = [](World& world) {
    world.writer = nullptr;
    world.store->close();
    world.options.held_bytes = 1000;
    world.reopen();
    world.become(Publish::on_write);
    world.extra = world.open_reader(View::pinned);
    world.extra->on_notice([](const MemoryError&) {});
  };
  fail_each_allocation({{{{3 * page, 3000}}}}, set_up, write_all);
}

TEST_CASE("a reader whose version is given up by what its own refresh enters moves on") {
  for (std::uint64_t at = 1;; ++at) {
    INFO("allocation " << at);
    World world{{{{{3 * page, 3000}}}}};
    world.writer = nullptr;
    world.store->close();
    world.options.held_bytes = 1000;
    world.reopen();
    world.become(Publish::on_write);
    world.extra = world.open_reader(View::pinned);
    const bool failed = write_all_without_memory(world, at);
    const Refreshed refreshed = world.extra->refresh();
    CHECK(refreshed.everything == world.steps[0].answered);
    CHECK(visible_steps(world, *world.extra).front() == world.steps[0].answered);
    check_world(world, true);
    if (!failed) break;
  }
}

TEST_CASE("memory runs out when a file of the log is used again") {
  for (std::uint64_t at = 1;; ++at) {
    INFO("allocation " << at);
    World world{{{{{10 * page + 8, 9000}}}}};
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

TEST_CASE("memory runs out in a checkpoint") {
  const bool pins = GENERATE(false, true);
  const Operation set_up = [pins](World& world) {
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
  fail_each_allocation(steps, set_up, [](World& world) {
    for (Step& step : world.steps) {
      write_step(world, step);
      world.run_lanes();
      static_cast<void>(world.store->stat(2000));
    }
  });
}

TEST_CASE("memory runs out when a store is closed") {
  const Operation set_up = [](World& world) { write_all(world); };
  fail_each_allocation({{{{3 * page, 3000}}}, {{{8 * page, 2 * page, 0}}}}, set_up, [](World& world) {
    world.writer = nullptr;
    const auto closing = std::move(world.store);
    closing->close();
  });
}

TEST_CASE("memory runs out in a recovery") {
  const Operation set_up = [](World& world) {
    write_all(world);
    world.writer = nullptr;
    world.store = nullptr;
  };
  fail_each_allocation({{{{3 * page, 3000}}}, {{{8 * page, 2 * page, 0}}}}, set_up,
                       [](World& world) { world.reopen(); });
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

TEST_CASE("the memory of one transaction's blocks serves the next") {
  constexpr std::size_t block = storage::PrivateBytes::block_bytes;
  constexpr std::uint64_t pages = 16;
  World world{std::vector<Step>{}};
  world.writer.reset();
  world.options.inline_commit_bytes = GENERATE(std::uint64_t{1} << 20, std::uint64_t{1} << 19);  // here, or on the lane
  world.reopen();
  const auto writer = world.open_writer(Publish::on_flush);
  const auto transaction = [&](int value, bool flushes) {
    for (std::uint64_t at = 0; at < pages; ++at) writer->write(at * page, filled(page, value));
    flushes ? world.flush(*writer) : static_cast<void>(writer->discard());
  };
  transaction(1, true);
  for (const bool flushes : {true, false, true}) {
    const CountedAllocations blocks(block);
    transaction(2, flushes);
    const std::uint64_t count = blocks.count();
    CHECK(count < pages);  // of pages * page / block, which is 256
  }
}

TEST_CASE("private bytes that are changed where they are, or read, take no memory") {
  constexpr std::uint64_t block = storage::PrivateBytes::block_bytes;
  storage::PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  if (GENERATE(false, true)) {
    options.base = [](std::uint64_t, std::span<std::byte> buffer) {
      std::fill(buffer.begin(), buffer.end(), std::byte{7});
    };
    options.ranges_max = GENERATE(std::uint64_t{8}, ~std::uint64_t{0});  // crowded, or not
  }
  storage::PrivateBytes bytes{options};
  for (std::uint64_t run = 0; run < 5; ++run) bytes.write(run * 10 * block, filled(6 * block, 1));
  bytes.zero(60 * block, 4 * block);
  const auto charged = bytes.bytes();
  const auto ranges = bytes.ranges();
  const auto data = filled(5 * block, 2);
  std::vector<std::byte> read(70 * block);
  std::uint64_t count = 0;
  {
    const CountedAllocations all;
    for (const std::uint64_t length : {std::uint64_t{1}, std::uint64_t{100}, block, 4 * block + 5})
      for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{5}, 20 * block - 0, 41 * block + 9})
        bytes.write(offset, std::span{data}.first(length));
    bytes.zero(41 * block, 10);
    bytes.zero(61 * block, block);
    bytes.read_over(0, read);
    if (!bytes.covers(block, 2 * block) || bytes.covers(block, 8 * block)) throw std::logic_error{"covers"};
    count = all.count();
  }
  CHECK(count == 0);
  CHECK(bytes.bytes() == charged);
  CHECK(bytes.ranges() == ranges);
  CHECK(read[4 * block + 4] == std::byte{2});
  CHECK(read[42 * block] == std::byte{2});
  CHECK(read[41 * block] == std::byte{0});
  CHECK(read[5 * block] == std::byte{1});
}

TEST_CASE("a private write over what is private already takes no memory, in a transaction and in a fork") {
  World world{std::vector<Step>{}};
  world.writer.reset();
  const bool forks = GENERATE(false, true);
  const auto session = forks ? world.open(session_request(Access::fork, "fork")) : world.open_writer(Publish::on_flush);
  session->write(100, filled(3 * page, 1));
  const auto data = filled(2 * page, 2);
  const CountedAllocations all;
  session->write(100, std::span{data}.first(8));
  session->write(page, data);
  const std::uint64_t count = all.count();
  CHECK(count == 0);
}

}  // namespace pageserver::test
