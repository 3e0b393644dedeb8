// A lane that is a thread.
#pragma once

#include <functional>
#include <thread>
#include <utility>

#include "base/mutex.hpp"
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
      const Lock lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  void submit_ready(Ready task) noexcept override {
    {
      const Lock lock{mutex_};
      tasks_.splice(tasks_.end(), task);
    }
    changed_.notify_one();
  }

private:
  void run() {
    Lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this]() PAGESERVER_REQUIRES(mutex_) { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      Ready task;
      task.splice(task.end(), tasks_, tasks_.begin());
      lock.unlock();
      task.front()();
      task.clear();  // without the lock: destroying what the task holds may run any code
      lock.lock();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  Ready tasks_ PAGESERVER_GUARDED_BY(mutex_);
  bool stopping_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pageserver::storage
