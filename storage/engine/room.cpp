// A full disk: a checkpoint brings the log into the image, so that its files can go; sessions wait for that.
#include <algorithm>
#include <utility>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {

bool Engine::is_no_room(const MemoryError& error) noexcept {
  return error.errc() == Errc::no_space || dynamic_cast<const NoRoomError*>(&error) != nullptr;
}

// Even when everything is in the image, the log's last file stays. To remove it is tried once for each end of the log.
bool Engine::log_can_be_emptied() const noexcept {
  return !published().segments.empty() && !room_.was_emptied(tail_.appended().position);
}

// Gives up the oldest holder only if that may make enough room. Else the writer is refused, and the holder stays.
bool Engine::give_up_oldest_holder(std::uint64_t bytes, DeferredCalls& deferred) noexcept {
  const SessionState* const oldest = holders_.oldest();
  if (oldest == nullptr || oldest->held.version == published().version ||
      indexed_.point().position - oldest->held.position < bytes)
    return false;
  const ReadGate::Change change{gate_};
  holders_.give_up_oldest(SessionState::GivenUpFor::room, deferred.evicted);
  events_.version_given_up();
  return true;
}

bool Engine::round_makes_room() const noexcept {
  const LogPoint reachable = reachable_point();
  return reachable.version > bound_.checkpointed().version ||
         (reachable.version == published().version && log_can_be_emptied());
}

/// True when a checkpoint is on its way after which there may be more room. Takes the version from pins and forks only
/// for a writer.
bool Engine::seek_room(std::uint64_t bytes, bool for_writer, DeferredCalls& deferred) noexcept {
  if (tasks_.stopping() || options_.read_only || faults_.sync_failed() || faults_.checkpoint_error()) return false;
  while (round_.idle() && !round_makes_room())
    if (!for_writer || !give_up_oldest_holder(bytes, deferred)) return false;
  room_.want();
  if (round_.idle())
    consider_checkpoint();
  else
    resume_round(true);
  return true;
}

std::string Engine::what_holds_room() const {
  std::uint64_t bytes = 0;
  for (const LogSegmentRef& segment : published().segments) bytes += segment->end_position - segment->first_position;
  std::string text = "the log beside it holds " + std::to_string(bytes) +
                     " bytes (limits.log_bytes=" + std::to_string(options_.log_bytes) + ")";
  if (const MemoryError* const error = faults_.checkpoint_error())
    return text + ", and can't be copied into the image: " + error->what();
  const SessionState* const oldest = holders_.oldest();
  if (oldest == nullptr || oldest->held.version == published().version)
    return text + ", and a checkpoint makes no more room: what fills the disk is something else";
  return text + ", of which " + std::to_string(indexed_.point().position - oldest->held.position) +
         " are held by the " + (oldest->request.access == Access::fork ? "fork " : "pinned reader ") +
         quoted(oldest->request.name) + " at " + oldest->request.address + ": end that session, or let it refresh";
}

MemoryError Engine::no_room_error(const SessionRef& state, const MemoryError& error, std::uint64_t bytes,
                                  std::uint64_t rounds_seen) {
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  std::string text = error.what();
  text += "; " + what_holds_room();
  // A bound, since other programs may take the room that each checkpoint makes.
  constexpr unsigned sought_max = 64;
  state->rounds_seen = rounds_seen;
  state->awaits_room =
      state->room_sought < sought_max && (room_.rounds_ended() != rounds_seen || room_.emptying() ||
                                          seek_room(bytes, state->request.access == Access::write, deferred));
  state->room_sought = state->awaits_room ? state->room_sought + 1 : 0;
  return {error.errc(), std::move(text)};
}

bool Engine::room_may_come(const SessionRef& state, std::function<void()> room) {
  state->callbacks.set_room(std::move(room));
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (!std::exchange(state->awaits_room, false)) return false;
  const bool comes =
      (room_.wanted() || room_.emptying()) && room_.rounds_ended() == state->rounds_seen && !published().closed;
  if (comes)
    room_.join(state);
  else
    deferred.room_waiters[state->id] = state;
  return true;
}

bool Engine::admits(SessionState& state) noexcept {
  state.awaits_room = false;
  // A write that will fail for another reason is let through, so that it gets that error.
  const bool admitted = !past_log_bound() || faults_.checkpoint_error() || faults_.sync_failed() ||
                        published().closed || state.right != SessionState::Right::whole;
  if (admitted) room_.admit(state);
  return admitted;
}

bool Engine::may_write(const SessionRef& state, std::function<void()> room) {
  {
    const Lock lock{mutex_};
    if (admits(*state)) return true;
  }
  // Before the engine's mutex is locked: a callback that is just running may need that.
  state->callbacks.set_room(std::move(room));
  const Lock lock{mutex_};
  if (admits(*state)) return true;
  room_.join(state);
  consider_checkpoint();
  return false;
}

/// Called on the checkpoint lane, at the end of a round. Where somebody wanted room, removes the spare files. Where
/// then everything is in the image, and nobody publishes, begins a new segment, so that the log's last file can go as
/// well.
void Engine::begin_empty_segment() noexcept {
  bool room_wanted = false;
  {
    const Lock lock{mutex_};
    room_wanted = room_.wanted();
  }
  if (room_wanted) static_cast<void>(log_.give_back_spares());
  std::uint64_t synced = 0, bytes = 0, version = 0, pages = 0;
  {
    const Lock lock{mutex_};
    const bool publishes = publishing_ && !flushes_.transaction_waits_for_room();
    if (!room_.wanted() || tasks_.stopping() || publishes || round_.until().position != tail_.appended().position ||
        !log_can_be_emptied())
      return;
    try {
      // Room for two: this segment, and one for a commit that may be waiting to be appended.
      const std::size_t segments = published().segments.size();
      if (segments + 2 > published().segments.capacity()) {
        const ReadGate::Change change{gate_};
        published_.segments.reserve(2 * segments + 2);
      }
    } catch (const std::bad_alloc&) {
      return;
    }
    room_.begin_emptying();
    synced = tail_.synced().position;
    bytes = published().image_bytes;
    version = published().version;
    pages = published().pages;
  }
  LogWriter::Appended begun;
  try {
    begun = log_.begin_segment(synced, bytes, version, pages);
  } catch (const std::exception&) {
    // There is no room even for that.
  }
  const Lock lock{mutex_};
  if (begun.new_segment) {
    const ReadGate::Change change{gate_};
    published_.segments.push_back(begun.new_segment);
    tail_.move_to(begun.end_position);
  }
  room_.end_emptying(tail_.appended().position);
}

}  // namespace pageserver::storage
