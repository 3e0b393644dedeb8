// What hangs in a disk, counted for people.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace pageserver::server {

/// Work that goes on for longer without an end is told as stuck.
inline constexpr std::chrono::milliseconds told_as_stuck{100};

/// Work that is stuck, and for how long the oldest of it has been.
struct Stuck {
  std::uint64_t count = 0;
  std::chrono::milliseconds oldest{};

  void add(std::chrono::steady_clock::duration lasts) noexcept {
    if (lasts < told_as_stuck) return;
    ++count;
    oldest = std::max(oldest, std::chrono::duration_cast<std::chrono::milliseconds>(lasts));
  }
  void add(const Stuck& other) noexcept {
    count += other.count;
    oldest = std::max(oldest, other.oldest);
  }
};

}  // namespace pageserver::server
