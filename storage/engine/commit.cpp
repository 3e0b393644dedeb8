// Flushing: a transaction is appended as a record and waits for its sync; other flushes wait for a sync alone.
#include <algorithm>
#include <functional>
#include <new>
#include <utility>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {
namespace {

/// A transaction of more ranges than this is appended on the sync lane, however few bytes it has.
constexpr std::size_t inline_ranges_max = 4096;
/// How many parts one write takes, beside the record's header: IOV_MAX is 1024.
constexpr std::size_t gathered_parts_max = 1000;

}  // namespace

void Engine::begin_commit(const SessionRef& state) {
  // Before the transaction is in the log.
  if (is_misplaced()) check_placement("flush of");
  Background::Ready ready = make_ready(&Engine::commit_task);
  {
    DeferredCalls deferred{*this};
    const Lock lock{mutex_};
    finish_entering(deferred);
    claim_publish(*state, false);
    events_.commit_begins();
    if (room_.emptying()) {
      flushes_.keep_transaction(state, std::move(ready));
      return;
    }
    const bool is_large =
        state->bytes->bytes() > options_.inline_commit_bytes || state->bytes->range_count() > inline_ranges_max;
    if (is_large || home_.calls() != nullptr) {
      // The lane appends it, so that other sessions on this thread don't wait. `publishing_` stays set until then.
      flushes_.keep_transaction(state);
      lanes_.submit_to_sync_lane(std::move(ready));
      return;
    }
  }
  append_commit(state);
}

void Engine::commit_task() noexcept {
  SessionRef state;
  {
    const Lock lock{mutex_};
    state = flushes_.take_transaction();
  }
  home_.await_verdict();  // the process may have stood still since the session asked
  try {
    append_commit(state);
  } catch (...) {
    state->callbacks.run_done(std::current_exception());
  }
}

void Engine::append_commit(const SessionRef& state) {
  for (;;) {
    Publishing publishing;
    try {
      return try_to_append_commit(state, publishing);
    } catch (const MemoryError& error) {
      std::exception_ptr failure = std::current_exception();
      try {
        if (is_no_room(error)) {
          failure = std::make_exception_ptr(no_room_error(state, error, state->bytes->bytes(), publishing.rounds_seen));
          const CommitRoom room = commit_waits_for_room(state, publishing);
          if (room == CommitRoom::now) continue;
          if (room == CommitRoom::later) return;
        }
      } catch (const std::bad_alloc&) {
        // No memory for a better text: the first error is thrown.
      }
      give_up_publish(publishing);
      std::rethrow_exception(failure);
    } catch (...) {
      give_up_publish(publishing);
      throw;
    }
  }
}

// `publishing_` stays set meanwhile: nobody else publishes.
Engine::CommitRoom Engine::commit_waits_for_room(const SessionRef& state, const Publishing& publishing) {
  Background::Ready ready;
  try {
    ready = make_ready(&Engine::commit_task);
  } catch (const std::bad_alloc&) {
    return CommitRoom::none;
  }
  const Lock lock{mutex_};
  // Where the session has ended, its transaction need not wait.
  if (!std::exchange(state->awaits_room, false) || !state->counted || tasks_.stopping()) return CommitRoom::none;
  if (publishing.unreservable) reservations_.give_up();
  reservations_.end_publish();
  end_append();
  if (!room_.wanted() || room_.rounds_ended() != publishing.rounds_seen) return CommitRoom::now;
  flushes_.keep_transaction(state, std::move(ready));
  return CommitRoom::later;
}

void Engine::wake_commit() noexcept {
  // While the log is being emptied, nobody may append. The end of that round calls this again.
  if (!room_.emptying() && flushes_.transaction_waits_for_room()) lanes_.submit_to_sync_lane(flushes_.take_task());
}

void Engine::try_to_append_commit(const SessionRef& state, Publishing& publishing) {
  FlushQueue::Flushes flush(1);
  flush.front().state = state;
  Background::Ready sync = make_ready(&Engine::sync_task);
  const std::vector<LogRange> ranges = state->bytes->ranges();
  bool keep_small = false;
  {
    const Lock lock{mutex_};
    check_right(published(), *state);
    faults_.check_durable();
    if (!tail_.has_sync_ready()) tail_.set_sync_ready(make_ready(&Engine::sync_task));
    publishing = plan_publish(state->private_pages, state->bytes->bytes());
    publishing.entry = state->entry_view();
    keep_small = index_memory_.keeps_small();
  }
  // The record's data is that of the non-zero ranges, one after the other.
  std::vector<std::uint64_t> starts;
  std::vector<LogRange> data_ranges;
  std::uint64_t data_bytes = 0;
  for (const LogRange& range : ranges) {
    if (range.zero) continue;
    starts.push_back(data_bytes);
    data_ranges.push_back(range);
    data_bytes += range.length;
  }
  const auto fill = [&](std::uint64_t offset, std::span<std::byte> buffer) {
    auto at = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), offset) - starts.begin()) - 1;
    while (!buffer.empty()) {
      const std::uint64_t within = offset - starts[at];
      const std::uint64_t bytes = std::min<std::uint64_t>(buffer.size(), data_ranges[at].length - within);
      state->bytes->read_over(data_ranges[at].offset + within, buffer.first(bytes));
      buffer = buffer.subspan(bytes);
      offset += bytes;
      ++at;
    }
  };
  std::vector<LoggedRange> logged = locator_.locate(ranges, keep_small, fill);
  const auto parts = state->bytes->parts(ranges, gathered_parts_max);
  const auto done = append(publishing, ranges, fill, parts);
  {
    const Lock lock{mutex_};
    state->room_sought = 0;
    state->entry_published = !publishing.entry.empty();
    appended(publishing, done, logged);
    flush.front().commit = Commit{publishing, std::move(logged)};
    faults_.check_durable();  // a sync may have failed during the append: then no other one comes
    flush.front().position = tail_.appended().position;
    flush.front().version = publishing.version;
    flushes_.add(flush);
  }
  lanes_.submit_sync(std::move(sync));
}

void Engine::flush(const SessionRef& state, StoreSession::Done done) {
  if (home_.calls() == nullptr) {
    state->callbacks.set_done(std::move(done));
    return begin_flush(state);
  }
  state->callbacks.set_done(std::move(done), HomeCalls::Clock::now());
  try {
    home_.calls()->watch(state);
    // Mostly the lane does all that may wait.
    if (state->is_private() && !is_misplaced()) return begin_flush(state);
    home_.calls()->begin([this, state, task = begin_task("flush of")] {
      home_.await_verdict();
      begin_flush(state);
    });
  } catch (...) {
    state->callbacks.run_done(std::current_exception());
  }
}

void Engine::begin_flush(const SessionRef& state) noexcept {
  std::exception_ptr error;
  Version version;
  try {
    if (state->is_private()) return begin_commit(state);
    bool waits = false;
    {
      const Lock lock{mutex_};
      check_right(published(), *state);
      faults_.check_durable();
      version = {incarnation_, published().version};
      waits = !tail_.all_synced();
    }
    if (waits) {
      FlushQueue::Flushes flush(1);
      flush.front().state = state;
      Background::Ready sync = make_ready(&Engine::sync_task);
      {
        const Lock lock{mutex_};
        faults_.check_durable();
        flush.front().position = tail_.appended().position;
        flush.front().version = published().version;
        flushes_.add(flush);
      }
      return lanes_.submit_sync(std::move(sync));
    }
    // Nothing is left to sync. But the files may be away: then nothing is durable.
    if (state->request.access == Access::write) check_placement("flush of");
  } catch (...) {
    error = std::current_exception();
  }
  state->callbacks.run_done(error, version);
}

}  // namespace pageserver::storage
