// A disk without room: what the log holds goes into the image, so that its files make some; who waits for that.
#include <algorithm>
#include <utility>

#include "storage/engine/core.hpp"

namespace pageserver::storage {

bool Engine::is_no_room(const MemoryError& error) noexcept {
  return error.errc() == Errc::no_space || dynamic_cast<const NoRoomError*>(&error) != nullptr;
}

// Everything is in the image, and yet the last file of the log stays. Tried once for each end of the log.
bool Engine::log_can_be_emptied() const noexcept {
  return !published().segments.empty() && !room_.was_emptied(tail_.appended().position);
}

// Worth it only where the room that comes of it may be enough: else the writer is refused, and the holder stays.
bool Engine::give_up_oldest_holder(std::uint64_t bytes, After& after) noexcept {
  const SessionState* const oldest = holders_.oldest();
  if (oldest == nullptr || oldest->held.version == published().version ||
      entered_.position - oldest->held.position < bytes)
    return false;
  const ReadGate::Change change{gate_};
  holders_.give_up_oldest(true, after.evicted);
  return true;
}

bool Engine::round_makes_room() const noexcept {
  const LogPoint reachable = reachable_point();
  return reachable.version > checkpointed_.version ||
         (reachable.version == published().version && log_can_be_emptied());
}

/// True when a checkpoint is on its way after which there may be more room. Only a writer's need ends other sessions.
bool Engine::seek_room(std::uint64_t bytes, bool for_writer, After& after) noexcept {
  if (stopping_ || options_.read_only || !sync_error_.empty() || checkpoint_error_) return false;
  while (round_.idle() && !round_makes_room())
    if (!for_writer || !give_up_oldest_holder(bytes, after)) return false;
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
  if (checkpoint_error_) return text + ", and can't be copied into the image: " + checkpoint_error_->what();
  const SessionState* const oldest = holders_.oldest();
  if (oldest == nullptr || oldest->held.version == published().version)
    return text + ", and a checkpoint makes no more room: what fills the disk is something else";
  return text + ", of which " + std::to_string(entered_.position - oldest->held.position) + " are held by the " +
         (oldest->request.access == Access::fork ? "fork " : "pinned reader ") + quoted(oldest->request.name) + " at " +
         oldest->request.address + ": end that session, or let it refresh";
}

MemoryError Engine::no_room_error(const SessionRef& state, const MemoryError& error, std::uint64_t bytes,
                                  std::uint64_t rounds_seen) {
  After after{*this};
  const Lock lock{mutex_};
  std::string text = error.what();
  text += "; " + what_holds_room();
  // Others may take what a checkpoint makes, again and again.
  constexpr unsigned sought_max = 64;
  state->rounds_seen = rounds_seen;
  state->awaits_room =
      state->room_sought < sought_max && (room_.rounds_ended() != rounds_seen || room_.emptying() ||
                                          seek_room(bytes, state->request.access == Access::write, after));
  state->room_sought = state->awaits_room ? state->room_sought + 1 : 0;
  return {error.errc(), std::move(text)};
}

bool Engine::room_may_come(const SessionRef& state, std::function<void()> room) {
  state->callbacks.set_room(std::move(room));
  After after{*this};
  const Lock lock{mutex_};
  if (!std::exchange(state->awaits_room, false)) return false;
  const bool comes =
      (room_.wanted() || room_.emptying()) && room_.rounds_ended() == state->rounds_seen && !published().closed;
  if (comes)
    room_.join(state);
  else
    after.rooms[state->id] = state;
  return true;
}

bool Engine::may_write(const SessionRef& state, std::function<void()> room) {
  // Before the engine's mutex, which a callback that runs may want.
  state->callbacks.set_room(std::move(room));
  const Lock lock{mutex_};
  state->awaits_room = false;
  // Who would be refused for another reason shall ask and be told.
  if (!past_log_bound() || checkpoint_error_ || !sync_error_.empty() || published().closed ||
      state->right != SessionState::Right::whole) {
    room_.let_in(*state);
    return true;
  }
  room_.join(state);
  consider_checkpoint();
  return false;
}

/// On the checkpoint lane, at the end of a round for which somebody wanted room: spare files go. Where everything is in
/// the image, and nobody publishes, the log's last file can then go as well.
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
    const bool publishes = publishing_ && waiting_commit_.ready.empty();
    if (!room_.wanted() || stopping_ || publishes || round_.until().position != tail_.appended().position ||
        !log_can_be_emptied())
      return;
    try {
      // One for this, and one for the commit that may be waiting to be appended.
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
    // Not even for that is there room.
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
