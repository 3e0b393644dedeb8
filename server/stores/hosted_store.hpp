// The store that a host has open, and who looks at it without a session.
//
//   put() ──> open: current(), look() ──> close(), once nobody looks
//                                     └─> set_aside(): another process has it; those who have a session go on to see it
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "storage/store.hpp"

namespace pageserver::server {

/// put(), set_aside() and close() come one at a time; all else is for any thread.
class HostedStore {
public:
  using Clock = std::chrono::steady_clock;

  /// Null: none is open. It is there for who has a session on it, or is the one who opens and closes it.
  storage::Store* current() const {
    const Lock lock{mutex_};
    return store_.get();
  }
  /// Runs `look(store)` when the store is open and nobody is just closing it, which it then waits for. What it throws
  /// is left out: whoever has a session is told.
  template <class Look>
  void look(const Look& look) {
    const std::shared_lock looks(look_mutex_, std::try_to_lock);
    if (!looks.owns_lock()) return;
    try {
      if (storage::Store* const store = current()) look(*store);
    } catch (const std::exception&) {
      // Its disk fails, or memory is out.
    }
  }

  storage::Store& put(std::unique_ptr<storage::Store> store) {
    opened_at_ = Clock::now();
    const Lock lock{mutex_};
    store_ = std::move(store);
    return *store_;
  }
  /// When the last one was put here.
  Clock::time_point opened_at() const noexcept { return opened_at_; }
  /// Others have taken the store over: it is kept for those who have a session in it. Throws std::bad_alloc, having
  /// done nothing.
  void set_aside() {
    taken_over_.reserve(taken_over_.size() + 1);
    const Lock lock{mutex_};
    taken_over_.push_back(std::move(store_));
  }
  /// Runs `close(store)` once nobody looks, and then the store is gone, whatever that throws. False: none was open.
  template <class Close>
  bool close(const Close& close) {
    const std::lock_guard looks(look_mutex_);
    std::unique_ptr<storage::Store> store;
    {
      const Lock lock{mutex_};
      store = std::move(store_);
    }
    if (store == nullptr) return false;
    close(*store);
    return true;
  }

private:
  std::shared_mutex look_mutex_;  ///< shared by who looks, which a close waits for
  mutable Mutex mutex_;           ///< never held for long
  std::vector<std::unique_ptr<storage::Store>> taken_over_;
  std::unique_ptr<storage::Store> store_ PAGESERVER_GUARDED_BY(mutex_);
  Clock::time_point opened_at_{};
};

}  // namespace pageserver::server
