// One thread at a time, and nobody waits for it.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <thread>
#include <utility>

#include "base/mutex.hpp"

namespace pageserver::server {

/// What belongs to one object is done by one thread at a time, whichever that is. Who comes while another is inside
/// leaves what is to be done as a sign, or as a task, and goes; who is inside does it before it leaves. So nobody is
/// held up by a call that is stuck in there.
///
///   if (!turn.enter(signs)) return;   // the one who is inside does it
///   do act(signs); while ((signs = turn.next()) != 0);
///
/// Threads: any.
class Turn {
public:
  /// Of next(): there are tasks. The caller's own signs begin above.
  static constexpr unsigned tasks = 2;
  static constexpr unsigned first_sign = 4;

  /// True: the calling thread is inside. It has to do what the signs say, and to call next() until that returns 0.
  bool enter(unsigned signs) noexcept {
    unsigned nobody = 0;
    if (!state_.compare_exchange_strong(nobody, inside)) {
      if ((state_.fetch_or(inside | signs) & inside) != 0) return false;
      state_.fetch_and(~signs);  // who was inside left in between
    }
    thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    return true;
  }
  /// For enter(tasks), before that. Throws std::bad_alloc, and then there is no task.
  void add(std::function<void()> task) {
    std::list<std::function<void()>> one;
    one.push_back(std::move(task));
    const Lock lock{mutex_};
    tasks_.splice(tasks_.end(), one);
  }

  /// Inside: what others have left to be done. 0: nothing, and the calling thread is outside.
  unsigned next() noexcept {
    thread_.store(std::thread::id(), std::memory_order_relaxed);
    unsigned nothing = inside;
    if (state_.compare_exchange_strong(nothing, 0)) return 0;
    thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    return state_.exchange(inside) & ~inside;
  }
  /// Inside: the tasks, in the order in which they came.
  std::list<std::function<void()>> take_tasks() noexcept {
    const Lock lock{mutex_};
    return std::exchange(tasks_, {});
  }
  /// Inside: the calling thread goes, and nobody else is let in, until a thread says come_back() and goes on. For what
  /// has to wait, or is to be done by another thread.
  void step_out() noexcept { thread_.store(std::thread::id(), std::memory_order_relaxed); }
  void come_back() noexcept { thread_.store(std::this_thread::get_id(), std::memory_order_relaxed); }
  /// The calling thread is inside.
  bool is_inside_here() const noexcept { return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

private:
  static constexpr unsigned inside = 1;
  std::atomic<unsigned> state_{0};
  std::atomic<std::thread::id> thread_{};
  Mutex mutex_;
  std::list<std::function<void()>> tasks_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
