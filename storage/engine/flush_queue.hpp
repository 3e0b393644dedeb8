// The flushes that wait for a sync of the log, and the transaction that waits to be appended to it.
//
//   flush() --> transaction to append --> append --> | flush | flush with commit | flush | --> sync --> answered
//               (one at most)                          in the order of their positions
//
// A sync makes durable what is appended when it begins, and ends all flushes up to there. One commit at most is among
// them, since its session alone publishes until it is visible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "storage/engine/background.hpp"
#include "storage/engine/published.hpp"
#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// A publish under way, as it was when it began.
struct Publishing {
  std::uint64_t version = 0;
  std::uint64_t pages = 0;
  std::uint64_t synced_position = 0;
  std::uint64_t previous_version = 0;
  std::uint64_t previous_pages = 0;
  std::uint64_t image_bytes = 0;
  std::uint64_t rounds_seen = 0;     ///< Engine::rounds_ended()
  std::span<const std::byte> entry;  ///< see LogAppend; while the append goes on
  bool new_block = false;            ///< see LogAppend
  bool unreservable = false;         ///< the file system can't reserve
  bool has_blocks = false;           ///< nothing is left to be reserved
};

/// An on_flush transaction that is appended and waits for its sync.
struct Commit {
  Publishing publishing;
  std::vector<LoggedRange> ranges;
};

struct Flush {
  std::uint64_t position = 0;
  std::uint64_t version = 0;  ///< that its success makes durable
  SessionRef state;           ///< whose callback is to run; null for the engine's own
  std::optional<Commit> commit;
  bool for_checkpoint = false;
  bool published = false;  ///< the transaction is visible: its private bytes go
  std::exception_ptr error;
};

/// Not thread-safe. To move a flush takes no memory.
class FlushQueue {
public:
  using Flushes = std::list<Flush>;

  /// Puts the one in `flush` at the end.
  void add(Flushes& flush) noexcept { flushes_.splice(flushes_.end(), flush); }
  /// Moves the flushes that a sync up to `position` ends to `taken`, in their order.
  void take_until(std::uint64_t position, Flushes& taken) noexcept {
    for (auto next = flushes_.begin(); next != flushes_.end();) {
      const auto flush = next++;
      if (flush->position <= position) taken.splice(taken.end(), flushes_, flush);
    }
  }
  void take_all(Flushes& taken) noexcept { taken.splice(taken.end(), flushes_); }
  /// The commit among the flushes that a sync up to `position` ends, or null.
  Commit* commit_until(std::uint64_t position) noexcept {
    for (Flush& flush : flushes_)
      if (flush.commit && flush.position <= position) return &*flush.commit;
    return nullptr;
  }

  /// Keeps the transaction of `state` until the task that appends it runs. With `ready`, that task is submitted only
  /// once there is room: see take_task().
  void keep_transaction(SessionRef state, Background::Ready ready = {}) noexcept {
    transaction_ = {std::move(state), std::move(ready)};
  }
  SessionRef take_transaction() noexcept { return std::exchange(transaction_.state, nullptr); }
  bool transaction_waits_for_room() const noexcept { return !transaction_.task.empty(); }
  Background::Ready take_task() noexcept { return std::exchange(transaction_.task, {}); }

private:
  struct Transaction {
    SessionRef state;
    Background::Ready task;
  };
  Flushes flushes_;
  Transaction transaction_;
};

}  // namespace pageserver::storage
