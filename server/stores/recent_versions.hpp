// Which version of a store was the newest when, for as long as that is of use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

namespace pageserver::server {

/// Moments are those of base::monotonic_ms(), and rise. Not thread-safe.
class RecentVersions {
public:
  /// At that moment it is the newest. Of those within a second the first is kept, and of all the last 128.
  void note(std::int64_t moment_ms, std::uint64_t version) {
    constexpr std::int64_t apart_ms = 1000;
    constexpr std::size_t moments_max = 128;
    if (!noted_.empty() && moment_ms - noted_.back().first < apart_ms) return;
    if (noted_.size() == moments_max) noted_.pop_front();
    noted_.emplace_back(moment_ms, version);
  }

  /// What was the newest at that moment; where that was before all that is noted, the oldest of those; 0: none is.
  std::uint64_t newest_at(std::int64_t moment_ms) const noexcept {
    std::uint64_t version = noted_.empty() ? 0 : noted_.front().second;
    for (const auto& [noted_ms, noted] : noted_)
      if (noted_ms <= moment_ms) version = noted;
    return version;
  }

  void clear() noexcept { noted_.clear(); }

private:
  std::deque<std::pair<std::int64_t, std::uint64_t>> noted_;
};

}  // namespace pageserver::server
