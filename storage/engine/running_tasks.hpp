// How many tasks of a store run now, and whether more may begin: a store closes only when none is left.
#pragma once

#include <cstdint>

#include "base/mutex.hpp"

namespace pageserver::storage {

/// Used under the engine's mutex, which await_none() lets go of while it waits.
class RunningTasks {
public:
  /// False once stop() was called: the task ends at once.
  bool begin() noexcept {
    if (stopping_) return false;
    ++running_;
    return true;
  }
  void end() noexcept {
    --running_;
    changed_.notify_all();
  }

  void stop() noexcept { stopping_ = true; }
  bool stopping() const noexcept { return stopping_; }

  /// Waits until no task runs and `also` holds, too; notify() has it looked at again. `lock` is of the engine's mutex.
  template <class Also>
  void await_none(Lock& lock, Also also) {
    changed_.wait(lock, [&] { return running_ == 0 && also(); });
  }
  void await_none(Lock& lock) {
    await_none(lock, [] { return true; });
  }
  void notify() noexcept { changed_.notify_all(); }

private:
  bool stopping_ = false;
  std::uint64_t running_ = 0;
  CondVar changed_;
};

}  // namespace pageserver::storage
