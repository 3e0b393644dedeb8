// A lane that is a thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "storage/background.hpp"

namespace pageserver::storage {

/// Runs tasks on a thread of its own, in the order given. The destructor runs what was submitted before, then joins;
/// nothing may be submitted after it has begun except from inside a task.
class ThreadBackground final : public Background {
public:
  /// Throws std::system_error when there is no thread to be had.
  ThreadBackground() {
    waiting_.reserve(room);
    running_.reserve(room);
    thread_ = std::thread{[this] { run(); }};
  }

  ~ThreadBackground() override {
    {
      const std::lock_guard lock{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

  /// Needs memory only where more than `room` tasks wait.
  void submit(std::function<void()> task) override {
    {
      const std::lock_guard lock{mutex_};
      waiting_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

private:
  void run() {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      running_.swap(waiting_);
      lock.unlock();
      for (auto& task : running_) {
        task();
        task = nullptr;  // what it holds is released outside the lock too, and before the next one runs
      }
      running_.clear();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  static constexpr std::size_t room = 64;
  std::vector<std::function<void()>> waiting_;
  std::vector<std::function<void()>> running_;  ///< of the thread alone
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pageserver::storage
