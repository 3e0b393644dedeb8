// Making the log durable, on the sync lane. Everybody who waits when a sync begins shares it.
#include <algorithm>
#include <utility>

#include "storage/engine_core.hpp"
#include "storage/mutation.hpp"

namespace pageserver::storage {

void Engine::submit(Background& lane, Task task) {
  lane.submit([weak = weak_from_this(), task] {
    if (const auto engine = weak.lock()) engine->run_task(task);
  });
}

void Engine::run_task(Task task) {
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

void Engine::schedule_sync() {
  if (sync_scheduled_.exchange(true)) return;
  submit(sync_lane_, &Engine::sync_task);
}

// What is written without a flush goes to the disk little by little, so that a flush, or a checkpoint, which comes at
// last, has little left to wait for.
void Engine::consider_writeback() {
  constexpr std::uint64_t writeback_bytes = 4ull << 20;
  if (appended_.position - writeback_position_ < writeback_bytes || std::exchange(writeback_scheduled_, true)) return;
  submit(sync_lane_, &Engine::writeback_task);
}

void Engine::writeback_task() {
  struct Part {
    LogSegmentRef segment;
    std::uint64_t offset, length;
  };
  std::vector<Part> parts;
  {
    const Lock lock{mutex_};
    writeback_scheduled_ = false;
    const std::uint64_t from = std::max(std::exchange(writeback_position_, appended_.position), synced_.position);
    for (const LogSegmentRef& segment : unsynced_segments()) {
      const std::uint64_t begin = std::max(from, segment->first_position);
      if (begin < segment->end_position)
        parts.push_back({segment, segment->offset_of(begin), segment->end_position - begin});
    }
  }
  for (const Part& part : parts)
    file_system_.start_writeback(part.segment->file.descriptor(), part.offset, part.length);
}

std::vector<LogSegmentRef> Engine::unsynced_segments() const {
  std::vector<LogSegmentRef> segments;
  for (const LogSegmentRef& segment : segments_)
    if (segment->end_position > synced_.position || !segment->entry_synced) segments.push_back(segment);
  return segments;
}

void Engine::sync_log(std::span<const LogSegmentRef> segments) {
  bool new_entry = false;
  for (const LogSegmentRef& segment : segments) {
    if (!mutated(Mutation::drop_log_sync)) segment->file.sync_data();
    new_entry = new_entry || !segment->entry_synced;
  }
  if (new_entry && !mutated(Mutation::drop_log_entry_sync)) folder_.sync();
}

void Engine::sync_task() {
  LogPoint target;
  std::vector<LogSegmentRef> segments;
  {
    const Lock lock{mutex_};
    sync_scheduled_ = false;
    if (!sync_error_.empty()) return;
    if (shares_block_ && !mutated(Mutation::share_block_in_sync)) {
      sync_awaits_append_ = true;
      return;
    }
    target = appended_;
    sealed_position_ = target.position;
    segments = unsynced_segments();
  }
  try {
    sync_log(segments);
  } catch (const MemoryError& error) {
    return fail_sync(error);
  }
  stage_commit(target);
  finish_sync(target, segments);
}

// Many ranges take long to enter into the index. Readers don't see those of a version that is not visible yet, so that
// most of them go there in parts, and nobody waits for long.
void Engine::stage_commit(const LogPoint& target) {
  constexpr std::uint64_t entries_at_once = 256;
  std::vector<LoggedRange> ranges;
  std::uint64_t version = 0;
  {
    const Lock lock{mutex_};
    for (Flush& flush : flushes_) {
      if (flush.position > target.position || !flush.commit) continue;
      std::uint64_t entries = 0;
      for (const LoggedRange& logged : flush.commit->ranges) {
        entries += logged.range.zero ? 1 : logged.range.length / page_size + 1;
        if (entries > entries_at_once) break;
      }
      if (entries <= entries_at_once) continue;
      version = flush.commit->publishing.version;
      ranges = std::exchange(flush.commit->ranges, {});
      staged_over_ = version_;
    }
  }
  for (std::span<LoggedRange> rest{ranges}; !rest.empty(); gate_.let_looks_pass()) {
    const Lock lock{mutex_};
    const ReadGate::Change change{gate_};
    rest = add_to_index(rest, version, entries_at_once);
  }
}

void Engine::finish_sync(const LogPoint& target, std::span<const LogSegmentRef> segments) {
  After after;
  {
    const Lock lock{mutex_};
    for (const LogSegmentRef& segment : segments) segment->entry_synced = true;
    synced_ = target;
    std::deque<Flush> later;
    for (Flush& flush : flushes_) {
      if (flush.position > target.position) {
        later.push_back(std::move(flush));
        continue;
      }
      if (flush.commit) {
        make_visible(flush.commit->publishing, flush.commit->ranges, after);
        flush.state->private_pages = 0;
        // Freed outside the lock: it may close a file.
        auto emptied = std::exchange(flush.state->bytes, make_private_bytes(*flush.state));
        after.push_back([bytes = std::shared_ptr<PrivateBytes>{std::move(emptied)}]() mutable { bytes.reset(); });
        end_publish(after);
      }
      if (flush.for_checkpoint) submit(checkpoint_lane_, &Engine::checkpoint_task);
      if (flush.state)
        after.push_back([state = flush.state, version = Version{incarnation_, flush.version}] {
          state->callbacks.run_done(nullptr, version);
        });
    }
    flushes_ = std::move(later);
  }
  run(after);
}

void Engine::fail_sync(const std::exception& error) {
  After after;
  {
    const Lock lock{mutex_};
    if (sync_error_.empty()) sync_error_ = error.what();
    const auto failure = std::make_exception_ptr(not_durable_error());
    for (Flush& flush : flushes_) {
      if (flush.commit) end_publish(after);
      if (flush.for_checkpoint) {
        round_phase_ = RoundPhase::idle;
        round_holder_ = 0;
      }
      if (flush.state) after.push_back([state = flush.state, failure] { state->callbacks.run_done(failure); });
    }
    flushes_.clear();
    take_rooms(after);
    if (mutated(Mutation::success_after_failed_sync)) sync_error_.clear();
  }
  run(after);
}

MemoryError Engine::not_durable_error() const {
  return {Errc::provider_error, "flush of " + quoted(shown_path_) + ": nothing is durable since a sync failed (" +
                                    sync_error_ + "); restart to recover from the log, and look after the disk"};
}

}  // namespace pageserver::storage
