// Memory that runs out: every allocation of an operation fails once, and, in other runs, that one and all after it.
// Then the store goes on, is killed or closed, and opened again. What was answered is there, what was refused is there
// as a whole or not at all, and nobody is left holding what nobody can give back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/storage/engine_test.hpp"
#include "tests/unit/storage/failing_resources.hpp"

namespace pageserver::test {

/// What syncs would add is of no matter to a kill, and takes long.
class UnsyncedFiles final : public FaultyFileSystem {
public:
  /// A recovery's look past the page cache makes the disk write, and waits for it. Thousands of stores are recovered
  /// here, which took 100 s on a disk with other things to do.
  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override {
    return FaultyFileSystem::open_beneath(directory, name, flags & ~O_DIRECT, mode);
  }
  storage::IoResult sync_data(int) override { return {0, 0}; }
  storage::IoResult sync(int) override { return {0, 0}; }
};

inline constexpr int before = 0x11;
inline constexpr int after = 0x22;
inline constexpr int mark = 0x33;
inline constexpr std::uint64_t page = page_size;
inline constexpr std::uint64_t base_pages = 60;
inline constexpr std::uint64_t mark_at = 59 * page + 100;

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
class MemoryWorld {
public:
  explicit MemoryWorld(std::vector<Step> will_change) : steps{std::move(will_change)} {
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
  std::unique_ptr<storage::StoreSession> open_writer(Publish publish = Publish::on_write, bool wait = false) {
    auto request = session_request(Access::write, "writer", wait);
    request.publish = publish;
    return open(std::move(request));
  }
  void become(Publish publish) {
    writer = nullptr;
    writer = open_writer(publish);
  }
  std::unique_ptr<storage::StoreSession> open_reader(View view = View::live) {
    auto request = session_request(Access::read, "reader");
    request.view = view;
    return open(std::move(request));
  }
  std::unique_ptr<storage::StoreSession> open(storage::SessionRequest request) {
    const auto opening = start_opening(*store, std::move(request));
    if (opening->error) std::rethrow_exception(opening->error);
    return std::move(opening->session);
  }
  void run_lanes() {
    while (sync_lane.run_one() || checkpoint_lane.run_one()) {
    }
  }
  void flush(storage::StoreSession& session) {
    const auto flushing = start_flush(session);
    run_lanes();
    if (flushing->calls != 1) throw std::logic_error{"a flush was not answered"};
    flush_refused = flushing->error != nullptr;
    if (flush_refused) std::rethrow_exception(flushing->error);
  }
  void write(storage::StoreSession& session, Step& step) {
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
  std::unique_ptr<storage::StoreSession> writer, pinned, extra;
  std::vector<Step> steps;
  std::optional<std::uint64_t> pages_after;  ///< of an operation that grows the image
  bool grown = false;                        ///< and was answered
  std::optional<std::uint64_t> pages_seen;   ///< by its session, once it was answered
  bool flush_refused = false;                ///< the last one
  bool commit_refused = false;               ///< of all steps
};

/// Which of the steps are visible to this session; fails where one is there in part.
std::vector<bool> visible_steps(MemoryWorld& world, storage::StoreSession& session);

/// Goes on after an operation that may have failed: the store is killed or closed, and opened again.
void check_world(MemoryWorld& world, bool kills);

using Operation = std::function<void(MemoryWorld&)>;

/// `run` once for each of its allocations, which fails, until it runs through; and again with all that come after that
/// one failing, too. `set_up` has all memory.
void fail_each_allocation(const std::vector<Step>& steps, const Operation& set_up, const Operation& run);

inline const Operation nothing = [](MemoryWorld&) {};

/// So many small changes in one page, each a step.
std::vector<Step> small_steps(std::size_t count, std::uint64_t first_page = 3);

/// One change in each of so many pages, in one step.
std::vector<Step> wide_step(std::size_t count);

/// On a writer that publishes on write, where a step is one change.
void write_step(MemoryWorld& world, Step& step);
void write_all(MemoryWorld& world);
/// The same with one allocation failing, the `at`-th; false when there were not so many.
bool write_all_without_memory(MemoryWorld& world, std::uint64_t at);
/// All steps as one transaction.
void commit_all(MemoryWorld& world);

}  // namespace pageserver::test
