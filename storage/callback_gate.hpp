// Callbacks that end with the object they belong to.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace pageserver::storage {

/// Between a background task and an object that may be destroyed meanwhile: run() runs nothing once end() was called,
/// and end() returns only when nothing runs any more, unless it is called from inside the callback itself.
///
/// Callbacks run without any lock held. Threads: any.
class CallbackGate {
public:
  template <class Callback>
  void run(Callback&& callback) {
    {
      std::unique_lock lock{mutex_};
      idle_.wait(lock, [this] { return runner_ == std::thread::id{}; });
      if (ended_) return;
      runner_ = std::this_thread::get_id();
    }
    callback();
    {
      const std::lock_guard lock{mutex_};
      runner_ = {};
    }
    idle_.notify_all();
  }

  void end() {
    std::unique_lock lock{mutex_};
    ended_ = true;
    idle_.wait(lock, [this] { return runner_ == std::thread::id{} || runner_ == std::this_thread::get_id(); });
  }

  bool ended() const {
    const std::lock_guard lock{mutex_};
    return ended_;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::thread::id runner_;
  bool ended_ = false;
};

}  // namespace pageserver::storage
