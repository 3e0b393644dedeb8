// When a store is given up to another daemon that asks for it, and for how long it is left to that one.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace pageserver::server {

/// One thread at a time. The clock is handed in.
class GivingUp {
public:
  using Clock = std::chrono::steady_clock;
  /// Whoever asked for a store must find it free.
  static constexpr std::chrono::milliseconds left_for{5000};
  /// A checkpoint comes first, for a while, where a successor would have more than this to copy.
  static constexpr std::uint64_t lag_bytes_small = 1ull << 20;
  static constexpr std::chrono::milliseconds checkpoint_patience{3000};

  /// Another one asks, and would have `lag_bytes` to copy. False: a checkpoint first, which is begun by whoever asks.
  bool is_due(std::uint64_t lag_bytes, Clock::time_point now) noexcept {
    if (wanted_since_ == Clock::time_point{}) wanted_since_ = now;
    return lag_bytes <= lag_bytes_small || now - wanted_since_ >= checkpoint_patience;
  }
  /// It is given up, to this one.
  void begin(std::string to, Clock::time_point now) noexcept {
    to_ = std::move(to);
    not_before_ = now + left_for;
  }
  /// The store is open here again: who asks, asks anew.
  void opened() noexcept { wanted_since_ = {}; }
  /// Somebody wants it here after all.
  void take_back() noexcept { not_before_ = {}; }

  bool is_left_to_others(Clock::time_point now) const noexcept { return now < not_before_; }
  const std::string& to() const noexcept { return to_; }

private:
  std::string to_;
  Clock::time_point not_before_{};
  Clock::time_point wanted_since_{};
};

}  // namespace pageserver::server
