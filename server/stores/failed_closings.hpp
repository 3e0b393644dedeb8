// What a stop has to say of stores whose last close failed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Thread-safe. To note a failure takes no memory but for its text, which is short then.
class FailedClosings {
public:
  /// Room for one failure, made before the close.
  using Room = std::map<std::string, std::string>::node_type;
  /// Throws std::bad_alloc.
  static Room room_for(const std::string& name);

  void note(Room room, const char* failure) noexcept;
  void forget(const std::string& name) noexcept;
  /// A line for each store; `without_memory` where there is none for them.
  std::vector<std::string> lines(std::vector<std::string> without_memory) noexcept;

private:
  Mutex mutex_;
  std::map<std::string, std::string> failures_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
