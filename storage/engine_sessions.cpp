// Sessions of the engine: opening and ending them, the writer lease and its line, what pins and forks hold.
#include <algorithm>
#include <limits>
#include <utility>

#include "storage/engine_core.hpp"
#include "storage/engine_session.hpp"
#include "storage/lease_text.hpp"

namespace pageserver::storage {

void Engine::run(After& after) {
  for (auto& action : after) action();
  after.clear();
}

SessionRef Engine::make_state(SessionRequest request) {
  auto state = std::make_shared<SessionState>();
  state->last_request_ms = request.opened_ms;
  state->request = std::move(request);
  state->id = next_id_++;
  return state;
}

std::uint64_t Engine::open_session(SessionRequest request, Store::Opened opened) {
  if (request.view == View::pinned && request.access != Access::read)
    throw MemoryError{Errc::invalid_argument,
                      "open " + quoted(shown_path_) + ": view=pinned goes with access=read only"};
  if (request.publish == Publish::on_flush && request.access != Access::write)
    throw MemoryError{Errc::invalid_argument,
                      "open " + quoted(shown_path_) + ": publish=on_flush goes with access=write only"};
  if (request.access != Access::write) {
    open_reader(std::move(request), opened);
    return 0;
  }
  if (options_.read_only)
    throw MemoryError{Errc::read_only, "open " + quoted(shown_path_) +
                                           " for writing: the store is read-only; open it with access=read or fork"};
  After after;
  std::uint64_t place = 0;
  std::exception_ptr refused;
  {
    const Lock lock{mutex_};
    if (stopping_) throw MemoryError{Errc::provider_error, "open " + quoted(shown_path_) + ": the store is closed"};
    const bool taken = writer_ != nullptr || publishing_ || !line_.empty();
    if (taken && !request.wait_in_line) {
      refused = std::make_exception_ptr(busy_error(request));
    } else {
      place = next_id_++;
      line_.push_back({place, std::move(request), opened, taken});
      if (!taken) {
        place = 0;
        grant_next(after);
      }
    }
  }
  if (refused) opened(nullptr, refused);
  run(after);
  return place;
}

void Engine::open_reader(SessionRequest request, const Store::Opened& opened) {
  SessionRef state;
  {
    const Lock lock{mutex_};
    if (stopping_) throw MemoryError{Errc::provider_error, "open " + quoted(shown_path_) + ": the store is closed"};
    state = make_state(std::move(request));
    if (state->holds()) hold(*state);
    state->opened = seen_by(*state);
    if (state->request.access == Access::fork)
      ++sessions_fork_;
    else
      ++(state->holds() ? sessions_pinned_ : sessions_live_);
  }
  if (state->request.access == Access::fork) state->bytes = make_private_bytes(*state);
  opened(std::make_unique<EngineSession>(shared_from_this(), std::move(state)), nullptr);
}

void Engine::hold(SessionState& state) {
  state.held_version = version_;
  state.held_position = published_.position;
  state.held_cost = published_.cost;
  state.held_pages = pages_;
  state.right = SessionState::Right::whole;
  holders_.emplace(std::pair{state.held_version, state.id}, state.shared_from_this());
}

void Engine::unhold(SessionState& state) { holders_.erase({state.held_version, state.id}); }

void Engine::grant_next(After& after) {
  if (writer_ || publishing_ || line_.empty() || stopping_) return;
  Waiting next = std::move(line_.front());
  line_.pop_front();
  writer_ = make_state(std::move(next.request));
  // How long it stood in line was no idleness of its own.
  if (next.waited) writer_->last_request_ms = std::numeric_limits<std::int64_t>::max();
  writer_->epoch = next_epoch_++;
  writer_->opened = seen_by(*writer_);
  if (writer_->request.publish == Publish::on_flush) writer_->bytes = make_private_bytes(*writer_);
  ++sessions_write_;
  after.push_back([engine = shared_from_this(), state = writer_, opened = std::move(next.opened)] {
    opened(std::make_unique<EngineSession>(engine, state), nullptr);
  });
}

void Engine::cancel_wait(std::uint64_t place) {
  Store::Opened opened;
  std::exception_ptr error;
  {
    const Lock lock{mutex_};
    const auto found =
        std::find_if(line_.begin(), line_.end(), [&](const Waiting& waiting) { return waiting.place == place; });
    if (found == line_.end()) return;
    opened = std::move(found->opened);
    const SessionRequest request = std::move(found->request);
    line_.erase(found);
    error = std::make_exception_ptr(busy_error(request));
  }
  opened(nullptr, error);
}

void Engine::end_session(const SessionRef& state) noexcept {
  state->callbacks.end();
  After after;
  {
    const Lock lock{mutex_};
    rooms_.erase(state->id);
    if (state->request.access == Access::write) {
      --sessions_write_;
      if (writer_ == state) last_writer_ = std::exchange(writer_, nullptr);
      resume_round(writer_ == nullptr);
      grant_next(after);
    } else {
      if (state->holds()) {
        unhold(*state);
        consider_checkpoint();
      }
      if (state->request.access == Access::fork)
        --sessions_fork_;
      else
        --(state->holds() ? sessions_pinned_ : sessions_live_);
    }
  }
  run(after);
}

HolderStat Engine::holder_stat(const SessionState& state, std::int64_t now_ms) const {
  HolderStat holder;
  holder.name = state.request.name;
  holder.address = state.request.address;
  holder.since_unix_ms = state.request.opened_unix_ms;
  const std::int64_t last = state.last_request_ms.load(std::memory_order_relaxed);
  const bool waits = state.callbacks.done_awaited() || rooms_.contains(state.id);
  holder.idle_ms = waits || now_ms <= last ? 0 : static_cast<std::uint64_t>(now_ms - last);
  holder.epoch = state.epoch;
  holder.access = state.request.access;
  holder.view = state.request.view;
  holder.publish = state.request.publish;
  holder.version_number = state.held_version;
  return holder;
}

MemoryError Engine::lost_error(const SessionState& state) const {
  if (state.right == SessionState::Right::lease_lost)
    return lease_lost_error(shown_path_, state.epoch, state.lost_reason);
  return {Errc::snapshot_too_old,
          "version " + std::to_string(state.held_version) + " of " + quoted(shown_path_) +
              " was given up: what pins and forks hold back exceeds limits.held_bytes=" +
              std::to_string(options_.held_bytes) +
              (state.request.access == Access::fork ? "; open the fork again, or raise that limit"
                                                    : "; refresh the session, or raise that limit")};
}

MemoryError Engine::busy_error(const SessionRequest& request) const {
  if (writer_) return lease_busy_error(shown_path_, holder_stat(*writer_, request.opened_ms), line_.size());
  const auto leaving = last_writer_.lock();
  return lease_leaving_error(shown_path_, leaving ? holder_stat(*leaving, request.opened_ms) : HolderStat{},
                             line_.size());
}

std::optional<HolderStat> Engine::break_lease(std::uint64_t epoch, const std::string& reason,
                                              std::optional<std::int64_t> now_ms, const SessionState* asking) {
  After after;
  std::optional<HolderStat> lost;
  {
    const Lock lock{mutex_};
    if (asking != nullptr) check_right_locked(*asking);
    if (!writer_ || (epoch != 0 && writer_->epoch != epoch)) return std::nullopt;
    const SessionRef state = std::exchange(writer_, nullptr);
    last_writer_ = state;
    lost = holder_stat(*state, now_ms.value_or(state->last_request_ms));
    {
      const ReadGate::Change change{gate_};
      state->right = SessionState::Right::lease_lost;
      state->lost_reason = reason;
    }
    rooms_.erase(state->id);
    after.push_back([state, error = lost_error(*state)] {
      state->callbacks.run_notice(error);
      state->callbacks.run_room();  // who waits for room asks again and is told
    });
    grant_next(after);
  }
  run(after);
  return lost;
}

void Engine::on_notice(const SessionRef& state, StoreSession::Notice notice) {
  state->callbacks.set_notice(std::move(notice));
  const Lock lock{mutex_};
  if (state->right == SessionState::Right::whole) return;
  sync_lane_.submit([state, error = lost_error(*state)] { state->callbacks.run_notice(error); });
}

void Engine::evict_holders(After& after) {
  while (!holders_.empty()) {
    const SessionRef oldest = holders_.begin()->second;
    if (published_.cost - oldest->held_cost <= options_.held_bytes) return;
    holders_.erase(holders_.begin());
    {
      const ReadGate::Change change{gate_};
      oldest->right = SessionState::Right::version_given_up;
    }
    after.push_back([oldest, error = lost_error(*oldest)] { oldest->callbacks.run_notice(error); });
  }
}

Refreshed Engine::refresh(SessionState& state) {
  constexpr std::size_t ranges_max = 4096;
  constexpr std::size_t pieces_max = 65536;
  const Lock lock{mutex_};
  if (state.right == SessionState::Right::lease_lost) throw lost_error(state);
  if (state.request.access == Access::write)
    throw MemoryError{Errc::unsupported,
                      "refresh " + quoted(shown_path_) +
                          ": a writer always sees the newest version; refresh goes with access=read or fork"};
  if (state.request.access == Access::fork && state.is_private())
    throw MemoryError{Errc::invalid_argument,
                      "refresh " + quoted(shown_path_) + ": the fork has private bytes or pages; discard them first"};
  Refreshed refreshed;
  refreshed.version = {incarnation_, version_};
  refreshed.pages = pages_;
  if (!state.holds()) {
    refreshed.everything = true;
    return refreshed;
  }
  // A holder's pieces are all in the index, so that what has no newer piece has not changed.
  refreshed.everything = state.right != SessionState::Right::whole || index_.piece_count() > pieces_max;
  if (!refreshed.everything) {
    const ReadGate::Change settling{gate_};
    refreshed.everything = !index_.changed_since(state.held_version, version_, ranges_max, refreshed.changed);
  }
  if (refreshed.everything) refreshed.changed.clear();
  unhold(state);
  hold(state);
  consider_checkpoint();
  return refreshed;
}

}  // namespace pageserver::storage
