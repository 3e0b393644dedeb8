// Sessions of the engine: opening and ending them, the writer lease and its queue, the versions of pins and forks.
#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "storage/engine/engine.hpp"
#include "storage/engine/lease_text.hpp"
#include "storage/engine/session.hpp"
#include "storage/log/resume_file.hpp"

namespace pageserver::storage {

Engine::DeferredCalls::~DeferredCalls() {
  if (drops_resume_file) engine.begin_to_drop_resume_file();
  for (const Flush& flush : flushes) {
    if (!flush.state) continue;
    if (flush.published) flush.state->bytes->clear();  // may close a file
    flush.state->callbacks.run_done(flush.error, flush.error ? Version{} : Version{engine.incarnation_, flush.version});
  }
  for (const auto& [key, state] : evicted) engine.notify_lost(*state, key.first);
  if (broken) {
    engine.notify_lost(*broken, std::nullopt);
    broken->callbacks.run_room();  // a session that waits for room asks again, and gets lease_lost
  }
  for (const auto& [id, waiting] : room_waiters)
    if (const auto state = waiting.lock()) state->callbacks.run_room();
  for (LeaseQueue::Waiter& next : granted) {
    try {
      next.opened(std::move(next.session), nullptr);
    } catch (...) {
      // See SessionCallbacks. The session ends with `next`.
    }
  }
}

// Runs without the lock, while the session may go on: so it uses nothing that a refresh changes.
void Engine::notify_lost(SessionState& state, std::optional<std::uint64_t> given_up) const noexcept {
  try {
    state.callbacks.run_notice(given_up ? given_up_error(state, *given_up) : broken_error(state));
  } catch (const std::bad_alloc&) {
    // The session's next request is told.
  }
}

std::uint64_t Engine::open_session(SessionRequest request, Store::Opened opened) {
  home_.await_verdict();
  home_.check_may_answer();
  if (request.view == View::pinned && request.access != Access::read)
    throw MemoryError{Errc::invalid_argument,
                      "open " + quoted(image_.shown_path()) + ": view=pinned goes with access=read only"};
  if (request.publish == Publish::on_flush && request.access != Access::write)
    throw MemoryError{Errc::invalid_argument,
                      "open " + quoted(image_.shown_path()) + ": publish=on_flush goes with access=write only"};
  if (request.access != Access::write) {
    open_reader(std::move(request), opened);
    return 0;
  }
  if (options_.read_only)
    throw MemoryError{Errc::read_only, "open " + quoted(image_.shown_path()) +
                                           " for writing: the store is read-only; open it with access=read or fork"};
  LeaseQueue::Waiters waiting(1);
  LeaseQueue::Waiter& one = waiting.front();
  one.state = session_factory_.make(std::move(request));
  one.place = one.state->id;
  one.session = std::make_unique<EngineSession>(shared_from_this(), one.state);
  one.opened = std::move(opened);
  std::exception_ptr refused;
  const bool claims = one.state->request.claim != nullptr;
  const EntryBytes claim = claims ? encode_entry(*one.state->request.claim) : EntryBytes{};
  {
    DeferredCalls deferred{*this};
    const Lock lock{mutex_};
    if (tasks_.stopping() || last_session_.is_kept())
      throw MemoryError{Errc::provider_error, "open " + quoted(image_.shown_path()) + ": the store is closed"};
    try_to_finish_entering(deferred);
    const bool taken = lease_.taken() || publishing_;
    if (claims && !last_session_.is(claim))
      throw MemoryError{Errc::not_found, "open " + quoted(image_.shown_path()) +
                                             ": the session that is to go on is not the last one that published, or "
                                             "another writer has come since"};
    if (!taken || (one.state->request.wait_in_line && !claims)) {
      const std::uint64_t place = taken ? one.place : 0;
      one.waited = taken;
      lease_.join(waiting);
      grant_next(deferred);
      if (place == 0 && !claims) deferred.drops_resume_file = true;
      return place;
    }
    refused = std::make_exception_ptr(busy_error(one.state->request));
  }
  one.opened(nullptr, refused);
  return 0;
}

void Engine::open_reader(SessionRequest request, const Store::Opened& opened) {
  const SessionRef state = session_factory_.make(std::move(request));
  auto session = std::make_unique<EngineSession>(shared_from_this(), state);
  Holders::Entry entry;
  if (state->holds()) entry = Holders::make_entry(state);
  {
    DeferredCalls deferred{*this};
    const Lock lock{mutex_};
    if (tasks_.stopping())
      throw MemoryError{Errc::provider_error, "open " + quoted(image_.shown_path()) + ": the store is closed"};
    if (state->holds()) {
      finish_entering(deferred);
      holders_.add(*state, std::move(entry), indexed_.point(), published().pages);
    }
    state->opened = seen_by(published(), *state);
    sessions_.add(state->request);
    state->counted = true;
  }
  opened(std::move(session), nullptr);
}

void Engine::grant_next(DeferredCalls& deferred) noexcept {
  if (publishing_ || tasks_.stopping() || last_session_.is_kept() || lease_.grant(deferred.granted) == nullptr) return;
  SessionState& writer = *lease_.writer();
  writer.opened = seen_by(published(), writer);
  writer.counted = true;
  sessions_.add(writer.request);
  last_session_.forget();
}

void Engine::keep_for_reopening(const SessionRef& state) noexcept {
  const Lock lock{mutex_};
  last_session_.keep(lease_.writer() == state && state->right == SessionState::Right::whole && state->entry_published);
}

void Engine::cancel_wait(std::uint64_t place) {
  LeaseQueue::Waiters cancelled;
  std::exception_ptr error;
  {
    const Lock lock{mutex_};
    if (!lease_.leave(place, cancelled)) return;
    try {
      error = std::make_exception_ptr(busy_error(cancelled.front().state->request));
    } catch (const std::bad_alloc&) {
      error = std::current_exception();
    }
  }
  cancelled.front().opened(nullptr, error);
}

void Engine::end_session(const SessionRef& state, bool busy) noexcept {
  state->callbacks.end();
  // A fork's bytes are counted where several stores share a counter. They go now, although others may keep its state.
  const auto bytes = state->request.access == Access::fork && !busy ? std::move(state->bytes) : nullptr;
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (!std::exchange(state->counted, false)) return;
  room_.leave(*state);
  sessions_.remove(state->request);
  if (state->request.access == Access::write) {
    if (lease_.writer() == state) lease_.end();
    wake_commit();
    resume_round(lease_.writer() == nullptr);
    try_to_finish_entering(deferred);
    grant_next(deferred);
  } else if (state->holds()) {
    holders_.remove(*state);
    consider_checkpoint();
  }
}

HolderStat Engine::holder_stat(const SessionState& state, std::int64_t now_ms) const {
  HolderStat holder;
  holder.name = state.request.name;
  holder.address = state.request.address;
  holder.since_unix_ms = state.request.opened_unix_ms;
  const std::int64_t last = state.last_request_ms.load(std::memory_order_relaxed);
  const bool waits = state.callbacks.done_awaited() || room_.has(state);
  holder.idle_ms = waits || now_ms <= last ? 0 : static_cast<std::uint64_t>(now_ms - last);
  holder.epoch = state.epoch;
  holder.access = state.request.access;
  holder.view = state.request.view;
  holder.publish = state.request.publish;
  holder.version_number = state.held.version;
  return holder;
}

MemoryError Engine::lost_error(const SessionState& state) const {
  if (state.right == SessionState::Right::lease_lost) return broken_error(state);
  return given_up_error(state, state.held.version);
}

MemoryError Engine::broken_error(const SessionState& state) const {
  return lease_lost_error(image_.shown_path(), state.epoch, state.lost_reason);
}

MemoryError Engine::given_up_error(const SessionState& state, std::uint64_t version) const {
  if (!state.lost_reason.empty())
    return {Errc::snapshot_too_old, "version " + std::to_string(version) + " of " + quoted(image_.shown_path()) +
                                        " was given up: " + state.lost_reason};
  if (state.given_up_for == SessionState::GivenUpFor::memory)
    return {Errc::snapshot_too_old,
            "version " + std::to_string(version) + " of " + quoted(image_.shown_path()) +
                " was given up: what finds bytes in the logs of all stores, which pins and forks hold back, takes " +
                options_.index_memory->text() +
                (state.request.access == Access::fork ? "; open the fork again, or raise that limit"
                                                      : "; refresh the session, or raise that limit")};
  if (state.given_up_for == SessionState::GivenUpFor::room)
    return {Errc::snapshot_too_old,
            "version " + std::to_string(version) + " of " + quoted(image_.shown_path()) +
                " was given up: the disk is full, and the writer needed what the log kept for it; make room, and " +
                (state.request.access == Access::fork ? "open the fork again" : "refresh the session")};
  return {Errc::snapshot_too_old,
          "version " + std::to_string(version) + " of " + quoted(image_.shown_path()) +
              " was given up: what pins and forks hold back exceeds limits.held_bytes=" +
              std::to_string(options_.held_bytes) +
              (state.request.access == Access::fork ? "; open the fork again, or raise that limit"
                                                    : "; refresh the session, or raise that limit")};
}

MemoryError Engine::busy_error(const SessionRequest& request) const {
  if (lease_.writer())
    return lease_busy_error(image_.shown_path(), holder_stat(*lease_.writer(), request.opened_ms), lease_.length());
  const auto leaving = lease_.leaving();
  return lease_leaving_error(image_.shown_path(), leaving ? holder_stat(*leaving, request.opened_ms) : HolderStat{},
                             lease_.length());
}

std::optional<HolderStat> Engine::break_lease(std::uint64_t epoch, const std::string& reason,
                                              std::optional<std::int64_t> now_ms, const SessionState* asking,
                                              std::uint64_t idle_ms_min) {
  std::string lost_reason = reason;
  std::optional<HolderStat> lost;
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (asking != nullptr) check_right(published(), *asking);
  const SessionRef& writer = lease_.writer();
  if (!writer || (epoch != 0 && writer->epoch != epoch)) return std::nullopt;
  lost = holder_stat(*writer, now_ms.value_or(writer->last_request_ms));
  if (lost->idle_ms < idle_ms_min) return std::nullopt;
  take_lease(writer, lost_reason, deferred);
  return lost;
}

void Engine::take_lease(const SessionRef& writer, std::string& reason, DeferredCalls& deferred) noexcept {
  {
    const ReadGate::Change change{gate_};
    writer->right = SessionState::Right::lease_lost;
    writer->lost_reason.swap(reason);
  }
  room_.leave(*writer);
  deferred.broken = lease_.end();
  wake_commit();
  try_to_finish_entering(deferred);
  grant_next(deferred);
}

void Engine::revoke(const SessionRef& state, std::string reason) {
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (!state->counted || state->right != SessionState::Right::whole) return;
  if (lease_.writer() == state) return take_lease(lease_.writer(), reason, deferred);
  if (!state->holds()) return;
  {
    const ReadGate::Change change{gate_};
    state->lost_reason.swap(reason);
    holders_.give_up(*state, deferred.evicted);
  }
  consider_checkpoint();
}

std::vector<std::uint64_t> Engine::line() {
  const Lock lock{mutex_};
  return lease_.places();
}

void Engine::on_notice(const SessionRef& state, StoreSession::Notice notice) {
  state->callbacks.set_notice(std::move(notice));
  const Lock lock{mutex_};
  if (state->right == SessionState::Right::whole) return;
  // A weak reference: the lane may outlive the store, and the session's private bytes must not.
  Background::Ready task;
  task.push_back([weak = std::weak_ptr{state}, error = lost_error(*state)] {
    if (const auto session = weak.lock()) session->callbacks.run_notice(error);
  });
  lanes_.submit_to_sync_lane(std::move(task));
}

void Engine::evict_holders(DeferredCalls& deferred) noexcept {
  while (const SessionState* const oldest = holders_.oldest()) {
    using GivenUpFor = SessionState::GivenUpFor;
    GivenUpFor why = GivenUpFor::held_bytes;
    if (indexed_.point().cost - oldest->held.cost <= options_.held_bytes) {
      if (!index_memory_.is_to_shrink() || oldest->held.version == published().version) return;
      // What that gives free is only seen after the checkpoint that may go further now.
      const bool round_comes = reachable_point().cost - bound_.checkpointed().cost >= early_round_cost_min;
      if (!index_memory_.claim_giving_up(room_.rounds_ended(), round_comes)) return;
      why = GivenUpFor::memory;
    }
    const ReadGate::Change change{gate_};
    holders_.give_up_oldest(why, deferred.evicted);
    events_.version_given_up();
  }
}

Refreshed Engine::refresh(SessionState& state) {
  constexpr std::size_t ranges_max = 4096;
  constexpr std::size_t pieces_max = 65536;
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (state.right == SessionState::Right::lease_lost) throw lost_error(state);
  if (state.request.access == Access::write)
    throw MemoryError{Errc::unsupported,
                      "refresh " + quoted(image_.shown_path()) +
                          ": a writer always sees the newest version; refresh goes with access=read or fork"};
  if (state.request.access == Access::fork && state.is_private())
    throw MemoryError{Errc::invalid_argument, "refresh " + quoted(image_.shown_path()) +
                                                  ": the fork has private bytes or pages; discard them first"};
  Refreshed refreshed;
  Holders::Entry entry;
  const Holders::Key key = Holders::key_of(state);
  if (state.holds()) {
    // This may give up the version of this very session. It moves to a new one now, so it is not notified.
    finish_entering(deferred);
    if (state.right != SessionState::Right::whole && !deferred.evicted.contains(key))
      entry = Holders::make_entry(state.shared_from_this());
  }
  const std::uint64_t newest = published().version;
  refreshed.version = {incarnation_, newest};
  refreshed.pages = published().pages;
  if (!state.holds()) {
    refreshed.everything = true;
    return refreshed;
  }
  // The index keeps all pieces since a holder's version: bytes without a newer piece have not changed.
  refreshed.everything = state.right != SessionState::Right::whole || published().index.piece_count() > pieces_max;
  if (!refreshed.everything) {
    const ReadGate::Change settling{gate_};
    refreshed.everything = !published_.index.changed_since(state.held.version, newest, ranges_max, refreshed.changed);
  }
  if (refreshed.everything) refreshed.changed.clear();
  if (!entry) entry = state.right == SessionState::Right::whole ? holders_.take(state) : deferred.evicted.extract(key);
  holders_.add(state, std::move(entry), indexed_.point(), refreshed.pages);
  consider_checkpoint();
  return refreshed;
}

}  // namespace pageserver::storage
