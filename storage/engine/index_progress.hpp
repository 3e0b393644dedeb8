// How far what is published is in the index.
//
// A version of many ranges is entered in parts, between which readers look: it is staged, above the version that they
// still see, which is held meanwhile as a pin holds one. Once it is in the index as a whole, point() moves.
#pragma once

#include <cstdint>

#include "storage/engine/log_point.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class IndexProgress {
public:
  explicit IndexProgress(std::uint64_t version) noexcept { point_.version = version; }

  /// The newest version that is in the index as a whole.
  const LogPoint& point() const noexcept { return point_; }
  void enter(const LogPoint& point) noexcept {
    point_ = point;
    staged_above_ = 0;
  }

  /// Parts of the next version are in the index from now on, while `version` is visible.
  void stage_above(std::uint64_t version) noexcept { staged_above_ = version; }
  /// Whether that is a version v with `from <= v < until`.
  bool is_staged_within(std::uint64_t from, std::uint64_t until) const noexcept {
    return staged_above_ != 0 && from <= staged_above_ && staged_above_ < until;
  }

private:
  LogPoint point_;
  std::uint64_t staged_above_ = 0;  // 0: none is
};

}  // namespace pageserver::storage
