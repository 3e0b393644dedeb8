// The engine's state of one session.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.hpp"
#include "storage/engine/log_point.hpp"
#include "storage/engine/private_bytes.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {

/// The callbacks that a session waits for. Each runs at most once, and none runs once end() has returned. They run
/// without any lock of the engine. A callback must not throw; one that does counts as run, and its exception is
/// dropped.
class SessionCallbacks {
public:
  using Moment = std::chrono::steady_clock::time_point;
  /// `since`: when the flush began, where somebody looks whether it is late.
  void set_done(StoreSession::Done done, Moment since = Moment::max());
  void set_notice(StoreSession::Notice notice);
  void set_room(std::function<void()> room);
  void run_done(const std::exception_ptr& error, const Version& version = {}) noexcept;
  void run_notice(const MemoryError& reason) noexcept;
  void run_room() noexcept;
  void end() noexcept;
  /// True from set_done() until it is run.
  bool done_awaited() const noexcept { return done_awaited_.load(std::memory_order_relaxed); }

  /// True where run_done() is awaited for a flush that began before `moment`.
  bool is_late(Moment moment) noexcept;
  /// Runs the callback of such a flush with `error`, although what becomes of the flush is not known: until run_done(),
  /// which then runs nobody, the session is_overdue(), and what the flush uses of it must be left alone.
  void expire(Moment moment, const std::exception_ptr& error) noexcept;
  bool is_overdue() const noexcept { return overdue_.load(std::memory_order_acquire); }

private:
  // Recursive: a callback may end the session that it belongs to.
  RecursiveMutex mutex_;
  bool ended_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::atomic<bool> done_awaited_{false};
  std::atomic<bool> overdue_{false};
  StoreSession::Done done_ PAGESERVER_GUARDED_BY(mutex_);
  Moment since_ PAGESERVER_GUARDED_BY(mutex_) = Moment::max();
  StoreSession::Notice notice_ PAGESERVER_GUARDED_BY(mutex_);
  std::function<void()> room_ PAGESERVER_GUARDED_BY(mutex_);
};

struct SessionState : std::enable_shared_from_this<SessionState> {
  enum class Right : std::uint8_t { whole, lease_lost, version_given_up };

  SessionRequest request;
  std::uint64_t id = 0;
  std::uint64_t epoch = 0;                       ///< of a writer's lease
  std::atomic<std::int64_t> last_request_ms{0};  ///< by the caller's monotonic clock
  SessionView opened;                            ///< set before the session is handed out
  SessionCallbacks callbacks;

  // Guarded by the engine's mutex.
  Right right = Right::whole;
  std::string lost_reason;
  enum class GivenUpFor : std::uint8_t {
    held_bytes,  ///< it held more of the log than pins and forks may
    room,        ///< the disk was full
    memory,      ///< what finds bytes in the logs of all stores took more than it may
  };
  GivenUpFor given_up_for = GivenUpFor::held_bytes;  ///< version_given_up
  bool awaits_room = false;                          ///< its last change found no room, and a checkpoint may make some
  std::uint64_t rounds_seen = 0;                     ///< rounds_ended() before that change
  unsigned room_sought = 0;                          ///< how many times in a row it found none
  bool counted = false;                              ///< it is one of the store's SessionCounts
  LogPoint held;                                     ///< the version that a pin or a fork holds
  std::uint64_t held_pages = 0;

  // Used by one call of the session at a time, as StoreSession demands, or by the flush that the session waits for.
  std::unique_ptr<PrivateBytes> bytes;  ///< of an on_flush writer or a fork; else null
  std::uint64_t private_pages = 0;      ///< grown and not published
  std::unique_ptr<EntryBytes> entry;    ///< what the records of its publishes say of it; null: nothing
  bool entry_published = false;         ///< its last record, by which it is known after another opening
  bool watched = false;                 ///< of HomeCalls, under its mutex

  std::span<const std::byte> entry_view() const noexcept {
    return entry == nullptr ? std::span<const std::byte>{} : entry->view();
  }
  bool holds() const noexcept { return request.access == Access::fork || request.view == View::pinned; }
  bool is_private() const noexcept { return bytes != nullptr && (!bytes->empty() || private_pages != 0); }
};

using SessionRef = std::shared_ptr<SessionState>;

}  // namespace pageserver::storage
