// Makes the log durable, on the sync lane. All flushes that wait when a sync begins share it.
#include <algorithm>
#include <new>
#include <utility>

#include "storage/engine/engine.hpp"
#include "storage/file/mutation.hpp"

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
    if (!tasks_.begin()) return;
  }
  (this->*task)();
  const Lock lock{mutex_};
  tasks_.end();
}

// Tells the disk now and then to write what was appended without a flush. So a flush or checkpoint that comes later has
// little to wait for.
void Engine::consider_writeback() noexcept {
  if (!tail_.wants_writeback()) return;
  try {
    lanes_.submit_to_sync_lane(make_ready(&Engine::writeback_task));
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
      return;  // a later publish asks again
    }
    tail_.end_writeback();
  }
  for (const Part& part : parts)
    image_.file_system().start_writeback(part.segment->file.descriptor(), part.offset, part.length);
}

// At most one such task in a tenth of a second, since writes without a flush mostly come in series. The last change of
// a series may stay unsettled until the next stat() or sync.
void Engine::consider_settling() noexcept {
  if (!image_changes_.wants_to_settle() || !lanes_.claim_settling()) return;
  try {
    lanes_.submit_to_sync_lane(make_ready(&Engine::settle_task));
  } catch (const std::bad_alloc&) {
    lanes_.settling_begins();
  }
}

void Engine::settle_task() noexcept {
  lanes_.settling_begins();
  image_changes_.settle();
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
    image_changes_.notes().header_synced(*segment);
  }
  if (new_entry && !mutated(Mutation::drop_log_entry_sync)) image_.folder().sync();
}

void Engine::sync_task() noexcept {
  LogPoint target;
  {
    const Lock lock{mutex_};
    lanes_.sync_begins();
    if (faults_.sync_failed()) return;
    const auto begun = tail_.begin_sync(mutated(Mutation::share_block_in_sync));
    if (!begun) return;
    target = *begun;
  }
  // Before the sync, which makes the note durable as well.
  image_changes_.settle();
  std::string misplaced;
  std::exception_ptr not_looked;
  events_.log_sync_begins();
  try {
    sync_log(target.position);
    events_.log_sync_ended();
    try {
      misplaced = find_misplaced();
    } catch (const std::bad_alloc&) {
      // No sync failed. Only to say what is out of place takes memory: so flushes fail as they do for that.
      not_looked = std::current_exception();
    }
  } catch (...) {
    return fail_sync();
  }
  stage_commit(target);
  finish_sync(target, misplaced, not_looked);
}

// To enter many ranges into the index takes long. Readers don't see pieces of a version that is not visible yet: so the
// ranges of a large transaction are entered in parts before it becomes visible, and nobody waits for long.
void Engine::stage_commit(const LogPoint& target) noexcept {
  const std::uint64_t entries_at_once = options_.index_entries_at_once;
  std::vector<LoggedRange> ranges;
  std::uint64_t version = 0;
  {
    const Lock lock{mutex_};
    Commit* const commit = flushes_.commit_until(target.position);
    if (commit == nullptr) return;
    std::uint64_t entries = 0;
    for (const LoggedRange& logged : commit->ranges) {
      entries += logged.range.zero ? 1 : logged.range.length / page_size + 1;
      if (logged.range.zero && length_within(logged.range, entries_at_once) < logged.range.length)
        entries = entries_at_once + 1;
      if (entries > entries_at_once) break;
    }
    if (entries <= entries_at_once) return;
    version = commit->publishing.version;
    ranges = std::exchange(commit->ranges, {});
    indexed_.stage_above(published().version);
  }
  stage(ranges, version);
  if (ranges.empty()) return;
  const Lock lock{mutex_};
  if (Commit* const commit = flushes_.commit_until(target.position)) commit->ranges = std::move(ranges);
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
    // All ranges are entered once more later. To enter one twice has no effect.
  }
}

// A transaction becomes visible also when its flush fails because image or log are away: its record is in the log, and
// durable once the file is back.
void Engine::finish_sync(const LogPoint& target, const std::string& misplaced, std::exception_ptr failure) noexcept {
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  try {
    if (!failure) {
      if (!misplaced.empty()) failure = std::make_exception_ptr(faults_.misplaced_error("flush of", misplaced));
      note_placement(misplaced);
    }
  } catch (const std::bad_alloc&) {
    failure = std::current_exception();
  }
  for (const LogSegmentRef& segment : published().segments)
    if (segment->first_position < target.position) segment->entry_synced = true;
  tail_.end_sync(target);
  flushes_.take_until(target.position, deferred.flushes);
  for (Flush& flush : deferred.flushes) {
    if (flush.commit) {
      // It is durable: its bytes are not private any more.
      make_visible(flush.state, flush.commit->publishing, flush.commit->ranges, deferred);
      flush.state->private_pages = 0;
      flush.published = true;
      end_visible(deferred);
      events_.commit_ended();
    }
    if (flush.for_checkpoint) submit_checkpoint();
    flush.error = failure;
  }
}

void Engine::fail_sync() noexcept {
  bool new_segment = false;
  {
    const Lock lock{mutex_};
    new_segment = !published().segments.empty() && !published().segments.back()->entry_synced;
  }
  image_changes_.notes().repeat(new_segment);
  events_.sync_failed();
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  faults_.note_failed_sync();
  std::exception_ptr failure;
  try {
    failure = std::make_exception_ptr(home_.lost() ? home_.lost_error() : faults_.not_durable_error());
  } catch (...) {
    failure = std::current_exception();
  }
  flushes_.take_all(deferred.flushes);
  for (Flush& flush : deferred.flushes) {
    if (flush.commit) end_publish(deferred);
    if (flush.for_checkpoint) round_.end();
    flush.error = failure;
  }
  room_.end_round();
  call_room_waiters(deferred);
  if (mutated(Mutation::success_after_failed_sync)) faults_.forget_failed_sync();
}

}  // namespace pageserver::storage
