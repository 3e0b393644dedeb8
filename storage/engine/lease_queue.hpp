// The writer lease: which session has it, which sessions wait for it, and which one had it before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "storage/engine/session_state.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class LeaseQueue {
public:
  /// A writer that waits for the lease. The memory that its session needs is there already: granting can't fail.
  struct Waiter {
    std::uint64_t place = 0;
    SessionRef state;
    std::unique_ptr<StoreSession> session;
    Store::Opened opened;
    bool waited = false;  ///< it did not get the lease at once
  };
  using Waiters = std::list<Waiter>;

  /// Null: nobody has it.
  const SessionRef& writer() const noexcept { return writer_; }
  /// The session that had it last, while that still exists: its last publish may be under way.
  SessionRef leaving() const noexcept { return last_writer_.lock(); }
  bool taken() const noexcept { return writer_ != nullptr || !waiters_.empty(); }
  std::size_t length() const noexcept { return waiters_.size(); }
  /// Of those that wait, in their order.
  std::vector<std::uint64_t> places() const;

  /// Moves the one in `waiting` to the end of the queue.
  void join(Waiters& waiting) noexcept { waiters_.splice(waiters_.end(), waiting); }
  /// Moves the one with that place to `cancelled`; false when it is not in the queue (any more).
  bool leave(std::uint64_t place, Waiters& cancelled) noexcept;
  /// Where nobody has the lease: gives it to the first one of the queue, moves that to `granted`, and returns it. Else
  /// null.
  Waiter* grant(Waiters& granted) noexcept;
  /// Takes the lease from the writer, and returns that.
  SessionRef end() noexcept;
  /// Moves the whole queue to `left`.
  void clear(Waiters& left) noexcept { left.swap(waiters_); }

private:
  std::uint64_t next_epoch_ = 1;
  SessionRef writer_;
  std::weak_ptr<SessionState> last_writer_;
  Waiters waiters_;
};

}  // namespace pageserver::storage
