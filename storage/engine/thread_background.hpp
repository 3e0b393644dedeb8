// A lane that is a thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "storage/engine/background.hpp"

namespace pageserver::storage {

/// Runs tasks on a thread of its own, in the order given. The destructor runs what was submitted before, then joins;
/// nothing may be submitted after it has begun except from inside a task.
class ThreadBackground final : public Background {
public:
  /// Throws std::system_error when there is no thread to be had.
  ThreadBackground() : thread_{[this] { run(); }} {}

  ~ThreadBackground() override {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void submit_ready(Ready task) noexcept override {
    {
      const std::lock_guard lock{mutex_};
      tasks_.splice(tasks_.end(), task);
    }
    changed_.notify_one();
  }

private:
  void run() {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      Ready task;
      task.splice(task.end(), tasks_, tasks_.begin());
      lock.unlock();
      task.front()();
      task.clear();  // what it holds is released outside the lock too
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Ready tasks_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pageserver::storage
