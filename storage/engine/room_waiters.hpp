// The sessions that wait for room: below the log's bound, or on a full disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// A checkpoint makes room. On a full disk it does more than otherwise: it brings everything into the image, and then
/// the log is emptied, which means that its last file goes as well. Not thread-safe, but for rounds_ended().
class RoomWaiters {
public:
  using Sessions = std::map<std::uint64_t, std::weak_ptr<SessionState>>;  ///< by id

  void join(const SessionRef& state) { waiting_[state->id] = state; }
  void leave(const SessionState& state) noexcept { waiting_.erase(state.id); }
  bool has(const SessionState& state) const noexcept { return waiting_.contains(state.id); }
  /// Moves all waiting sessions to `called`: they shall try again.
  void call_all(Sessions& called) noexcept { called.merge(waiting_); }

  /// The session's next publish is not refused for the log's bound. may_write() has said so, and the state of the log
  /// may change before the publish comes.
  void admit(const SessionState& state) noexcept { admitted_ = state.id; }
  bool take_admission(const SessionState& state) noexcept { return std::exchange(admitted_, 0) == state.id; }

  /// A session found no room on the disk: a round is worth it, however little it copies.
  void want() noexcept { wanted_ = true; }
  bool wanted() const noexcept { return wanted_; }
  /// A round has ended, whether it succeeded or failed.
  void end_round() noexcept {
    wanted_ = false;
    ++rounds_ended_;
  }
  std::uint64_t rounds_ended() const noexcept { return rounds_ended_.load(); }

  /// The log is being emptied: it goes on in a new segment, and nothing is published meanwhile.
  void begin_emptying() noexcept { emptying_ = true; }
  void end_emptying(std::uint64_t log_end) noexcept {
    emptying_ = false;
    emptied_position_ = log_end;
  }
  bool emptying() const noexcept { return emptying_; }
  /// Whether emptying was tried for this end of the log: once is enough.
  bool was_emptied(std::uint64_t log_end) const noexcept { return emptied_position_ == log_end; }

private:
  Sessions waiting_;
  std::uint64_t admitted_ = 0;  // 0: none
  bool wanted_ = false;
  bool emptying_ = false;
  std::uint64_t emptied_position_ = 0;
  std::atomic<std::uint64_t> rounds_ended_{0};
};

}  // namespace pageserver::storage
