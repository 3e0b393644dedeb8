// Making the log durable, on the sync lane. Everybody who waits when a sync begins shares it.
#include <algorithm>
#include <new>
#include <utility>

#include "base/mutation.hpp"
#include "storage/engine/core.hpp"

namespace pageserver::storage {

Background::Ready Engine::make_ready(Task task) {
  Background::Ready ready;
  ready.push_back([weak = weak_from_this(), task] {
    if (const auto engine = weak.lock()) engine->run_task(task);
  });
  return ready;
}

void Engine::run_task(Task task) noexcept {
  {
    const Lock lock{mutex_};
    if (stopping_) return;
    ++tasks_running_;
  }
  (this->*task)();
  const Lock lock{mutex_};
  --tasks_running_;
  idle_.notify_all();
}

void Engine::schedule_sync(Background::Ready ready) noexcept {
  if (!sync_scheduled_.exchange(true)) sync_lane_.submit_ready(std::move(ready));
}

// What is written without a flush goes to the disk little by little, so that a flush, or a checkpoint, which comes at
// last, has little left to wait for.
void Engine::consider_writeback() noexcept {
  if (!tail_.wants_writeback()) return;
  try {
    sync_lane_.submit_ready(make_ready(&Engine::writeback_task));
    tail_.writeback_scheduled();
  } catch (const std::bad_alloc&) {
    // A later publish asks again.
  }
}

void Engine::writeback_task() noexcept {
  struct Part {
    LogSegmentRef segment;
    std::uint64_t offset, length;
  };
  std::vector<Part> parts;
  {
    const Lock lock{mutex_};
    const std::uint64_t from = tail_.begin_writeback();
    const std::uint64_t until = tail_.appended().position;
    try {
      LogSegmentRef segment = unsynced_segment(0, until);
      for (; segment; segment = unsynced_segment(segment->first_position + 1, until)) {
        const std::uint64_t begin = std::max(from, segment->first_position);
        if (begin < segment->end_position)
          parts.push_back({segment, segment->offset_of(begin), segment->end_position - begin});
      }
    } catch (const std::bad_alloc&) {
      return;  // as in consider_writeback()
    }
    tail_.end_writeback();
  }
  for (const Part& part : parts)
    file_system_.start_writeback(part.segment->file.descriptor(), part.offset, part.length);
}

// Writes without a flush come in rows: what is left of the last one is settled by the next look at the store.
void Engine::consider_settling() noexcept {
  if (!notes_.wants_to_settle() || settling_scheduled_.exchange(true)) return;
  try {
    sync_lane_.submit_ready(make_ready(&Engine::settle_task));
  } catch (const std::bad_alloc&) {
    settling_scheduled_ = false;
  }
}

void Engine::settle_task() noexcept {
  settling_scheduled_ = false;
  notes_.settle(image_->file());
}

LogSegmentRef Engine::unsynced_segment(std::uint64_t from, std::uint64_t until) const noexcept {
  for (const LogSegmentRef& segment : published().segments) {
    if (segment->first_position >= until) break;
    if (segment->first_position < from) continue;
    if (segment->end_position > tail_.synced().position || !segment->entry_synced) return segment;
  }
  return nullptr;
}

void Engine::sync_log(std::uint64_t until) {
  bool new_entry = false;
  for (std::uint64_t from = 0;;) {
    LogSegmentRef segment;
    {
      const Lock lock{mutex_};
      segment = unsynced_segment(from, until);
      if (!segment) break;
      new_entry = new_entry || !segment->entry_synced;
      from = segment->first_position + 1;
    }
    if (!mutated(Mutation::drop_log_sync)) segment->file.sync_data();
  }
  if (new_entry && !mutated(Mutation::drop_log_entry_sync)) folder_.sync();
}

void Engine::sync_task() noexcept {
  LogPoint target;
  {
    const Lock lock{mutex_};
    sync_scheduled_ = false;
    if (!sync_error_.empty()) return;
    const auto begun = tail_.begin_sync(mutated(Mutation::share_block_in_sync));
    if (!begun) return;
    target = *begun;
  }
  // What is about to become durable knows the image as it is now.
  notes_.settle(image_->file());
  std::string misplaced;
  try {
    sync_log(target.position);
    misplaced = find_misplaced();
  } catch (...) {
    return fail_sync();
  }
  stage_commit(target);
  finish_sync(target, misplaced);
}

// Many ranges take long to enter into the index. Readers don't see those of a version that is not visible yet, so that
// most of them go there in parts, and nobody waits for long.
void Engine::stage_commit(const LogPoint& target) noexcept {
  const std::uint64_t entries_at_once = options_.index_entries_at_once;
  std::vector<LoggedRange> ranges;
  std::uint64_t version = 0;
  {
    const Lock lock{mutex_};
    for (Flush& flush : flushes_) {
      if (flush.position > target.position || !flush.commit) continue;
      std::uint64_t entries = 0;
      for (const LoggedRange& logged : flush.commit->ranges) {
        entries += logged.range.zero ? 1 : logged.range.length / page_size + 1;
        if (logged.range.zero && length_within(logged.range, entries_at_once) < logged.range.length)
          entries = entries_at_once + 1;
        if (entries > entries_at_once) break;
      }
      if (entries <= entries_at_once) continue;
      version = flush.commit->publishing.version;
      ranges = std::exchange(flush.commit->ranges, {});
      staged_over_ = published().version;
    }
  }
  stage(ranges, version);
  if (ranges.empty()) return;
  const Lock lock{mutex_};
  for (Flush& flush : flushes_) {
    if (!flush.commit || flush.commit->publishing.version != version) continue;
    flush.commit->ranges = std::move(ranges);
    break;
  }
}

void Engine::stage(std::vector<LoggedRange>& ranges, std::uint64_t version) noexcept {
  try {
    for (std::span<LoggedRange> rest{ranges}; !rest.empty(); gate_.let_looks_pass()) {
      const Lock lock{mutex_};
      const ReadGate::Change change{gate_};
      rest = add_to_index(rest, version, options_.index_entries_at_once);
    }
    ranges.clear();
  } catch (const std::bad_alloc&) {
    // Those that are there are entered once more, with the rest.
  }
}

// A transaction is visible also when its flush fails since a file is not in its place: its record is in the log, and
// durable once the file is back.
void Engine::finish_sync(const LogPoint& target, const std::string& misplaced) noexcept {
  std::exception_ptr failure;
  After after{*this};
  const Lock lock{mutex_};
  try {
    if (!misplaced.empty()) failure = std::make_exception_ptr(misplaced_error("flush of", misplaced));
    note_placement(misplaced);
  } catch (const std::bad_alloc&) {
    failure = std::current_exception();
  }
  for (const LogSegmentRef& segment : published().segments)
    if (segment->first_position < target.position) segment->entry_synced = true;
  tail_.end_sync(target);
  for (auto next = flushes_.begin(); next != flushes_.end();) {
    const auto flush = next++;
    if (flush->position > target.position) continue;
    if (flush->commit) {
      // It is durable, so that the answer is a success and nothing of it is private any more.
      make_visible(flush->state, flush->commit->publishing, flush->commit->ranges, after);
      flush->state->private_pages = 0;
      flush->published = true;
      end_visible(after);
    }
    if (flush->for_checkpoint) submit_checkpoint();
    flush->error = failure;
    if (flush->state)
      after.flushes.splice(after.flushes.end(), flushes_, flush);
    else
      flushes_.erase(flush);
  }
}

void Engine::fail_sync() noexcept {
  notes_.repeat();
  After after{*this};
  const Lock lock{mutex_};
  if (sync_error_.empty()) {
    try {
      try {
        throw;
      } catch (const MemoryError& error) {
        sync_error_ = error.what();
      }
    } catch (...) {
      sync_error_ = "out of memory";  // few enough letters to take none
    }
  }
  std::exception_ptr failure;
  try {
    failure = std::make_exception_ptr(not_durable_error());
  } catch (...) {
    failure = std::current_exception();
  }
  for (auto next = flushes_.begin(); next != flushes_.end();) {
    const auto flush = next++;
    if (flush->commit) end_publish(after);
    if (flush->for_checkpoint) round_.end();
    flush->error = failure;
    if (flush->state) after.flushes.splice(after.flushes.end(), flushes_, flush);
  }
  flushes_.clear();
  room_.end_round();
  take_rooms(after);
  if (mutated(Mutation::success_after_failed_sync)) sync_error_.clear();
}

MemoryError Engine::not_durable_error() const {
  return {Errc::provider_error, "flush of " + quoted(shown_path_) + ": nothing is durable since a sync failed (" +
                                    sync_error_ + "); restart to recover from the log, and look after the disk"};
}

}  // namespace pageserver::storage
