// The client's clock, and until when something may take.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace pageserver::client {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
inline constexpr Deadline never = Deadline::max();

/// `time` after `from`. A time that the clock can not hold is for ever.
constexpr Deadline deadline_after(Deadline from, std::chrono::milliseconds time) {
  const auto most = std::chrono::floor<std::chrono::milliseconds>(never - from);
  return time >= most ? never : from + time;
}

/// The time left, at least zero, as poll(2) and its kin take it.
inline timespec timespec_until(Deadline deadline) {
  const auto duration = std::max(deadline - Clock::now(), Clock::duration::zero());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  timespec left{};
  left.tv_sec = static_cast<decltype(left.tv_sec)>(seconds.count());
  left.tv_nsec = static_cast<decltype(left.tv_nsec)>(std::chrono::nanoseconds{duration - seconds}.count());
  return left;
}

}  // namespace pageserver::client
