// How fast a checkpoint round copies: a fixed number of bytes for each byte that is appended meanwhile.
#pragma once

#include <cstdint>
#include <utility>

namespace pageserver::storage {

/// A round copies in steps of `step_bytes`. After each step it pauses until enough was appended to pay for the next
/// one, or until its caller says that it disturbs nobody. Not thread-safe.
class RoundPace {
public:
  /// `ratio`: bytes copied for each one appended; 0: it never waits.
  RoundPace(std::uint32_t ratio, std::uint64_t step_bytes) noexcept
      : ratio_{ratio}, step_bytes_{static_cast<std::int64_t>(step_bytes)} {}

  void begin_round() noexcept {
    left_bytes_ = step_bytes_;
    paused_ = false;
  }
  void end_round() noexcept { paused_ = false; }
  /// The log ends at `position`.
  void begin_step(std::uint64_t position) noexcept { step_position_ = position; }
  void end_step() noexcept {
    left_bytes_ -= step_bytes_;
    paused_ = true;
  }
  void appended(std::uint64_t bytes) noexcept { left_bytes_ += static_cast<std::int64_t>(ratio_ * bytes); }

  bool is_paused() const noexcept { return paused_; }
  /// Whether nothing was appended since the last step began.
  bool is_alone(std::uint64_t position) const noexcept { return position == step_position_; }
  /// Whether nothing was appended since this was asked the last time.
  bool is_quiet(std::uint64_t position) noexcept { return std::exchange(asked_position_, position) == position; }
  /// True when the next step is to be submitted, which ends the pause. `anyway`: nobody writes who could be disturbed,
  /// or the round is urgent.
  bool resume(bool anyway) noexcept {
    if (!paused_ || (!anyway && ratio_ != 0 && left_bytes_ <= 0)) return false;
    paused_ = false;
    return true;
  }

private:
  const std::uint64_t ratio_;
  const std::int64_t step_bytes_;
  std::int64_t left_bytes_ = 0;
  std::uint64_t step_position_ = 0;
  std::uint64_t asked_position_ = 0;
  bool paused_ = false;
};

}  // namespace pageserver::storage
