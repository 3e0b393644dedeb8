// A lane whose tasks run when the test says so.
#pragma once

#include <functional>
#include <utility>

#include "storage/engine/background.hpp"

namespace pageserver::test {

/// Not thread-safe. A task that runs may call others' code that steps the same lane again; a lane runs one task at a
/// time, so that inner step does nothing.
class SteppedBackground final : public storage::Background {
public:
  void submit_ready(Ready task) noexcept override {
    queue_.splice(queue_.end(), task);
    if (quick) step();
  }

  bool idle() const { return queue_.empty(); }
  bool running() const { return running_; }
  /// Runs the first task. False when there was none or one is running.
  bool step() {
    if (running_ || queue_.empty()) return false;
    Ready task;
    task.splice(task.end(), queue_, queue_.begin());
    running_ = true;
    task.front()();
    running_ = false;
    return true;
  }
  /// Forgets what was not run, as a kill does.
  void clear() { queue_.clear(); }

  bool quick = false;  ///< tasks are done before submit() returns: the lane is quicker than whoever gives it work

private:
  Ready queue_;
  bool running_ = false;
};

}  // namespace pageserver::test
