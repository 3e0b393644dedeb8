// Flushing: a transaction that becomes a record and waits for its sync, or the sync alone.
#include <algorithm>
#include <functional>
#include <new>
#include <utility>

#include "storage/engine/core.hpp"

namespace pageserver::storage {
namespace {

/// A transaction of more ranges is appended on the lane, however few bytes it has.
constexpr std::size_t inline_ranges_max = 4096;
/// What one write can take, with its header: IOV_MAX is 1024.
constexpr std::size_t gathered_parts_max = 1000;

}  // namespace

void Engine::begin_commit(const SessionRef& state) {
  // Before anything of it is in the log.
  if (is_misplaced_) check_placement("flush of");
  Background::Ready ready = make_ready(&Engine::commit_task);
  {
    After after{*this};
    const Lock lock{mutex_};
    finish_entering(after);
    claim_publish(*state, false);
    if (room_.emptying()) {
      waiting_commit_ = {state, std::move(ready)};
      return;
    }
    if (state->bytes->bytes() > options_.inline_commit_bytes || state->bytes->range_count() > inline_ranges_max) {
      // Others on this thread don't wait for it. It is on the way: the next lease comes after it.
      waiting_commit_.state = state;
      sync_lane_.submit_ready(std::move(ready));
      return;
    }
  }
  append_commit(state);
}

void Engine::commit_task() noexcept {
  SessionRef state;
  {
    const Lock lock{mutex_};
    state = std::exchange(waiting_commit_.state, nullptr);
  }
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
        // What was thrown first says enough.
      }
      give_up_publish(publishing);
      std::rethrow_exception(failure);
    } catch (...) {
      give_up_publish(publishing);
      throw;
    }
  }
}

// It stays on the way meanwhile: nobody else publishes.
Engine::CommitRoom Engine::commit_waits_for_room(const SessionRef& state, const Publishing& publishing) {
  Background::Ready ready;
  try {
    ready = make_ready(&Engine::commit_task);
  } catch (const std::bad_alloc&) {
    return CommitRoom::none;
  }
  const Lock lock{mutex_};
  // A session that is gone need not be waited for.
  if (!std::exchange(state->awaits_room, false) || !state->counted || stopping_) return CommitRoom::none;
  if (publishing.unreservable) reservations_.give_up();
  reservations_.end_publish();
  end_append();
  if (!room_.wanted() || room_.rounds_ended() != publishing.rounds_seen) return CommitRoom::now;
  waiting_commit_ = {state, std::move(ready)};
  return CommitRoom::later;
}

void Engine::wake_commit() noexcept {
  // While the log goes on in a segment of its own nobody else may append. The end of that round comes here again.
  if (!room_.emptying() && !waiting_commit_.ready.empty())
    sync_lane_.submit_ready(std::exchange(waiting_commit_.ready, {}));
}

void Engine::try_to_append_commit(const SessionRef& state, Publishing& publishing) {
  std::list<Flush> flush;
  flush.emplace_back();
  flush.front().state = state;
  Background::Ready sync = make_ready(&Engine::sync_task);
  const std::vector<LogRange> ranges = state->bytes->ranges();
  bool keep_small = false;
  {
    const Lock lock{mutex_};
    check_right(published(), *state);
    if (!sync_error_.empty()) throw not_durable_error();
    if (!tail_.has_sync_ready()) tail_.set_sync_ready(make_ready(&Engine::sync_task));
    publishing = plan_publish(state->private_pages, state->bytes->bytes());
    keep_small = keeps_small();
  }
  // The stream of data is that of the non-zero ranges, one after the other.
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
  std::vector<LoggedRange> logged = locate(ranges, keep_small, fill);
  const auto parts = state->bytes->parts(ranges, gathered_parts_max);
  const auto done = append(publishing, ranges, fill, parts);
  {
    const Lock lock{mutex_};
    state->room_sought = 0;
    appended(publishing, done, logged);
    flush.front().commit = Commit{publishing, std::move(logged)};
    if (!sync_error_.empty()) throw not_durable_error();  // since the append began: no sync comes any more
    flush.front().position = tail_.appended().position;
    flush.front().version = publishing.version;
    flushes_.splice(flushes_.end(), flush);
  }
  schedule_sync(std::move(sync));
}

void Engine::flush(const SessionRef& state, StoreSession::Done done) {
  state->callbacks.set_done(std::move(done));
  std::exception_ptr error;
  Version version;
  try {
    if (state->is_private()) return begin_commit(state);
    bool waits = false;
    {
      const Lock lock{mutex_};
      check_right(published(), *state);
      if (!sync_error_.empty()) throw not_durable_error();
      version = {incarnation_, published().version};
      waits = !tail_.all_synced();
    }
    if (waits) {
      std::list<Flush> flush(1);
      flush.front().state = state;
      Background::Ready sync = make_ready(&Engine::sync_task);
      {
        const Lock lock{mutex_};
        if (!sync_error_.empty()) throw not_durable_error();
        flush.front().position = tail_.appended().position;
        flush.front().version = published().version;
        flushes_.splice(flushes_.end(), flush);
      }
      return schedule_sync(std::move(sync));
    }
    // Nothing is left to sync, and what was may be gone with its name.
    if (state->request.access == Access::write) check_placement("flush of");
  } catch (...) {
    error = std::current_exception();
  }
  state->callbacks.run_done(error, version);
}

}  // namespace pageserver::storage
