// Who waits until there is room: below the bound of the log, or on a disk that is full.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// A checkpoint makes room. On a full disk it has to go further than it would by itself: everything goes into the
/// image, and the log's last file goes, too (it is emptied). Not thread-safe, but for rounds_ended().
class RoomLine {
public:
  using Sessions = std::map<std::uint64_t, std::weak_ptr<SessionState>>;  ///< by id

  void join(const SessionRef& state) { waiting_[state->id] = state; }
  void leave(const SessionState& state) noexcept { waiting_.erase(state.id); }
  bool has(const SessionState& state) const noexcept { return waiting_.contains(state.id); }
  /// All of them go to `called`, to ask again.
  void call_all(Sessions& called) noexcept { called.merge(waiting_); }

  /// The log's bound does not refuse the session's next publish: what it was let in for may have ended before it comes.
  void let_in(const SessionState& state) noexcept { let_in_ = state.id; }
  bool take_let_in(const SessionState& state) noexcept { return std::exchange(let_in_, 0) == state.id; }

  /// Somebody found no room on the disk: a round is worth it, however little it copies.
  void want() noexcept { wanted_ = true; }
  bool wanted() const noexcept { return wanted_; }
  /// A round came to an end, well or not.
  void end_round() noexcept {
    wanted_ = false;
    ++rounds_ended_;
  }
  std::uint64_t rounds_ended() const noexcept { return rounds_ended_.load(); }

  /// The log goes on in a segment of its own: nothing is published meanwhile.
  void begin_emptying() noexcept { emptying_ = true; }
  void end_emptying(std::uint64_t log_end) noexcept {
    emptying_ = false;
    emptied_position_ = log_end;
  }
  bool emptying() const noexcept { return emptying_; }
  /// It is tried once for each end of the log.
  bool was_emptied(std::uint64_t log_end) const noexcept { return emptied_position_ == log_end; }

private:
  Sessions waiting_;
  std::uint64_t let_in_ = 0;  // 0: none
  bool wanted_ = false;
  bool emptying_ = false;
  std::uint64_t emptied_position_ = 0;
  std::atomic<std::uint64_t> rounds_ended_{0};
};

}  // namespace pageserver::storage
