// What takes as long as a store's disk does, one thing at a time: opening, closing, looking after the store.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "server/runtime/blocking_pool.hpp"

namespace pageserver::server {

/// Threads: any. The destructor runs what was submitted before, as Strand's.
class StoreJobs {
public:
  /// Jobs that come by themselves, and of which one at a time is enough.
  enum class Kind : std::uint8_t { watch, home, page_map };

  StoreJobs(BlockingPool& pool, StrandGroup* group) : strand_(pool, group) {}

  Strand& strand() noexcept { return strand_; }
  const Strand& strand() const noexcept { return strand_; }

  /// Once it begins the next one may be submitted, since it may come too late for what has changed meanwhile. False:
  /// one of its kind has not begun. Throws std::bad_alloc, having done nothing.
  template <class Task>
  bool submit_once(Kind kind, Task task) {
    return submit(kind, [task = std::move(task)](std::atomic<bool>& under_way) mutable {
      under_way = false;
      task();
    });
  }
  /// The same, and the next one may be submitted when it is over, which `over()` may tell.
  template <class Task, class Over>
  bool submit_alone(Kind kind, Task task, Over over) {
    return submit(kind, [task = std::move(task), over = std::move(over)](std::atomic<bool>& under_way) mutable {
      task();
      under_way = false;
      over();
    });
  }

private:
  template <class Task>
  bool submit(Kind kind, Task task) {
    std::atomic<bool>& under_way = under_way_[static_cast<std::size_t>(kind)];
    if (under_way.exchange(true)) return false;
    try {
      strand_.submit_patient([task = std::move(task), &under_way]() mutable { task(under_way); });
    } catch (...) {
      under_way = false;
      throw;
    }
    return true;
  }

  std::array<std::atomic<bool>, 3> under_way_{};
  Strand strand_;  // ends before what its tasks refer to
};

}  // namespace pageserver::server
