// Lines for whoever watches over the daemon: each refusal, and each use of the right admin. Limited in rate, so that
// who floods the daemon does not fill its log; what is left out is counted.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Any thread.
class AuditRate {
public:
  static constexpr std::uint32_t burst = 50;                 ///< lines at once
  static constexpr std::chrono::milliseconds per_line{100};  ///< and then one in so long

  using Clock = std::chrono::steady_clock;

  /// May a line be written now? Then `left_out` says how many were not before it.
  bool take(Clock::time_point now, std::uint64_t& left_out) {
    const Lock lock{mutex_};
    if (last_ != Clock::time_point{}) {
      const auto earned = (now - last_) / per_line;
      room_ = static_cast<std::uint32_t>(std::min<std::int64_t>(burst, room_ + earned));
      last_ += earned * per_line;
    } else {
      last_ = now;
    }
    if (room_ == 0) {
      ++left_out_;
      return false;
    }
    --room_;
    left_out = left_out_;
    left_out_ = 0;
    return true;
  }

private:
  Mutex mutex_;
  Clock::time_point last_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint32_t room_ PAGESERVER_GUARDED_BY(mutex_) = burst;
  std::uint64_t left_out_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

}  // namespace pageserver::server
