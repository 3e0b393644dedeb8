// A lane whose tasks run when the test says so.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

#include "storage/engine/background.hpp"

namespace pageserver::test {

class ManualBackground final : public storage::Background {
public:
  void submit_ready(Ready task) noexcept override {
    const std::lock_guard lock{mutex_};
    tasks_.splice(tasks_.end(), task);
  }

  std::size_t waiting() const {
    const std::lock_guard lock{mutex_};
    return tasks_.size();
  }

  /// False when there was none.
  bool run_one() {
    Ready task;
    {
      const std::lock_guard lock{mutex_};
      if (tasks_.empty()) return false;
      task.splice(task.end(), tasks_, tasks_.begin());
    }
    task.front()();
    return true;
  }

  void run_all() {
    while (run_one()) {
    }
  }

private:
  mutable std::mutex mutex_;
  Ready tasks_;
};

}  // namespace pageserver::test
