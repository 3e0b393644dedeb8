// A lane whose tasks run when the test says so.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "storage/background.hpp"

namespace pageserver::test {

class ManualBackground final : public storage::Background {
public:
  void submit(std::function<void()> task) override {
    const std::lock_guard lock{mutex_};
    tasks_.push_back(std::move(task));
  }

  std::size_t waiting() const {
    const std::lock_guard lock{mutex_};
    return tasks_.size();
  }

  /// False when there was none.
  bool run_one() {
    std::function<void()> task;
    {
      const std::lock_guard lock{mutex_};
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }

  void run_all() {
    while (run_one()) {
    }
  }

private:
  mutable std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
};

}  // namespace pageserver::test
