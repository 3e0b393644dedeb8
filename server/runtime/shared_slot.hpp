// One object of which everybody takes what is there now, while another may come into its place.
#pragma once

#include <memory>
#include <utility>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Empty at first. Threads: any.
template <class T>
class SharedSlot {
public:
  std::shared_ptr<T> get() const {
    const Lock lock{mutex_};
    return object_;
  }
  /// What was there is destroyed without the lock, where nobody else has it.
  void set(std::shared_ptr<T> object) {
    const Lock lock{mutex_};
    object_.swap(object);
  }

private:
  mutable Mutex mutex_;
  std::shared_ptr<T> object_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
