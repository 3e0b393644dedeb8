// How much of the log is not in the image yet, and whether that passes its bound.
#pragma once

#include <algorithm>
#include <cstdint>

#include "storage/engine/log_point.hpp"

namespace pageserver::storage {

/// In costs, see LogPoint::cost. Not thread-safe.
class LogBound {
public:
  /// `log_bytes`: how far a checkpoint may be behind; `held_bytes`: how much more pins and forks may hold back.
  /// The image holds `version`.
  LogBound(std::uint64_t log_bytes, std::uint64_t held_bytes, std::uint64_t version) noexcept
      : log_bytes_{log_bytes}, held_bytes_{held_bytes} {
    checkpointed_.version = version;
  }

  /// The synced image holds what is published up to there. The log's files may still be there.
  const LogPoint& checkpointed() const noexcept { return checkpointed_; }
  void note_checkpoint(const LogPoint& until) noexcept { checkpointed_ = until; }

  /// A pin or a fork holds back what is published up to that cost. That counts against `held_bytes`, and not against
  /// the writer.
  void hold_back(std::uint64_t cost) noexcept { held_until_cost_ = cost; }
  /// The log's files up to there are removed.
  void reclaim_until(std::uint64_t cost) noexcept { reclaimed_cost_ = cost; }

  std::uint64_t unreclaimed(std::uint64_t published_cost) const noexcept { return published_cost - reclaimed_cost_; }
  /// Whether writers have to wait. `waits_for_reads`: a checkpoint does, which does not count against the writer
  /// either.
  bool is_passed(std::uint64_t published_cost, bool waits_for_reads) const noexcept {
    const std::uint64_t held_until = waits_for_reads ? published_cost : std::max(reclaimed_cost_, held_until_cost_);
    return published_cost - held_until > log_bytes_ || unreclaimed(published_cost) > log_bytes_ + held_bytes_;
  }

private:
  const std::uint64_t log_bytes_;
  const std::uint64_t held_bytes_;
  LogPoint checkpointed_;
  std::uint64_t reclaimed_cost_ = 0;
  std::uint64_t held_until_cost_ = 0;
};

}  // namespace pageserver::storage
