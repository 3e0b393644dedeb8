// How long a connection has its loop for itself.
#pragma once

#include <chrono>

namespace pageserver::server {

/// A turn begins with its first frame: what comes before costs next to nothing. Pure: whoever takes frames asks.
///
/// Threads: one at a time.
class TurnTime {
public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds max{200};

  /// The next frame is the first one of a turn.
  void begin() noexcept {
    end_ = {};
    is_over_ = false;
  }
  /// Looked at before each frame, so that a turn may be longer by one.
  bool ends(Clock::time_point now) noexcept {
    now_ = now;
    if (end_ == Clock::time_point{}) end_ = now + max;
    is_over_ = now >= end_;
    return is_over_;
  }
  /// As the last look said: the loop's other connections shall have it.
  bool is_over() const noexcept { return is_over_; }

  /// Of the frame in hand.
  Clock::time_point now() const noexcept { return now_; }
  void set_now(Clock::time_point now) noexcept { now_ = now; }

private:
  Clock::time_point now_{};
  Clock::time_point end_{};  // zero: it has not begun
  bool is_over_ = false;
};

}  // namespace pageserver::server
