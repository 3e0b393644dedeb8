// Which of the loops serve the sessions of one store, and which of their threads are stuck in its calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include <pageserver/session.hpp>

#include "server/runtime/loops.hpp"

namespace pageserver::server {

/// Threads: any.
class StoreLoops {
public:
  /// `loops` outlives it. `disk`: where the image is, or null. Throws std::bad_alloc.
  StoreLoops(Loops& loops, Loops::Disk* disk)
      : loops_{loops}, calls_{loops.take_calls(disk)}, writers_{loops.next()}, readers_{writers_} {}

  /// The loop for the next session. Writers are all on one; those that read, and forks, are spread over the others and
  /// never come to where writers are.
  std::shared_ptr<Worker> next_for(Access access) noexcept {
    return access == Access::write ? writer() : loops_.reader(readers_++);
  }
  const std::shared_ptr<Worker>& writer() const noexcept { return loops_.writer(writers_); }
  const std::shared_ptr<Worker>& a_reader() const noexcept { return loops_.reader(writers_); }

  /// In which threads are stuck on behalf of the store's sessions.
  StuckCalls& calls() noexcept { return *calls_; }
  Stuck stuck() const noexcept { return loops_.stuck(calls_.get()); }
  /// How much waits until fewer are.
  std::size_t waiting() noexcept { return loops_.waiting(calls_.get()); }

private:
  Loops& loops_;
  const HeldCalls calls_;
  const std::size_t writers_;
  std::atomic<std::size_t> readers_;  ///< where the next one goes
};

}  // namespace pageserver::server
