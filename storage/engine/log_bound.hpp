// How much of the log is not in the image yet, and whether that is more than may be.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pageserver::storage {

/// In costs, see LogPoint::cost. Not thread-safe.
class LogBound {
public:
  /// `log_bytes`: what a checkpoint may be behind by itself; `held_bytes`: beside it, what pins and forks hold back.
  LogBound(std::uint64_t log_bytes, std::uint64_t held_bytes) noexcept
      : log_bytes_{log_bytes}, held_bytes_{held_bytes} {}

  /// What is published up to that cost is held back by a pin or a fork: that is not the writer's fault, and has its own
  /// bound.
  void hold_back(std::uint64_t cost) noexcept { hold_mark_ = cost; }
  /// The log's files up to there are gone.
  void clear_until(std::uint64_t cost) noexcept { cleared_cost_ = cost; }

  std::uint64_t uncleared(std::uint64_t published_cost) const noexcept { return published_cost - cleared_cost_; }
  /// Whether writers wait. `waits_for_reads`: a checkpoint does, which is not the writer's fault either.
  bool is_passed(std::uint64_t published_cost, bool waits_for_reads) const noexcept {
    const std::uint64_t held_until = waits_for_reads ? published_cost : std::max(cleared_cost_, hold_mark_);
    return published_cost - held_until > log_bytes_ || uncleared(published_cost) > log_bytes_ + held_bytes_;
  }

private:
  const std::uint64_t log_bytes_;
  const std::uint64_t held_bytes_;
  std::uint64_t cleared_cost_ = 0;
  std::uint64_t hold_mark_ = 0;
};

}  // namespace pageserver::storage
