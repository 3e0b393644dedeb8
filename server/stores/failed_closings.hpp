// What a stop has to say of stores whose last close failed.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

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
  std::mutex mutex_;
  std::map<std::string, std::string> failures_;
};

}  // namespace pageserver::server
