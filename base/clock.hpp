// The clocks of this machine, in the unit that the protocol and the engine take.
#pragma once

#include <chrono>
#include <cstdint>

namespace pageserver::base {

/// Milliseconds since 1970-01-01 UTC. It may be set, and jump.
inline std::int64_t unix_ms() noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()).time_since_epoch().count();
}

/// Milliseconds since some moment before this process began. It never jumps.
inline std::int64_t monotonic_ms(
    std::chrono::steady_clock::time_point moment = std::chrono::steady_clock::now()) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(moment).time_since_epoch().count();
}

/// The same in nanoseconds.
inline std::int64_t monotonic_ns(
    std::chrono::steady_clock::time_point moment = std::chrono::steady_clock::now()) noexcept {
  return std::chrono::nanoseconds(moment.time_since_epoch()).count();
}

}  // namespace pageserver::base
