// Of a store in a pool that was full: whether the pool takes again what it refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::server {

/// One thread at a time.
class HomeRoom {
public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds look_interval{1};

  /// Writes a file beside the image of `path` and removes it, at most once in an interval. False: there is no room, or
  /// it was not looked. A file that a kill leaves there is written over.
  bool has_come(storage::FileSystem& file_system, const std::string& path, std::uint32_t file_mode,
                Clock::time_point now);

private:
  Clock::time_point looked_{};
};

}  // namespace pageserver::server
