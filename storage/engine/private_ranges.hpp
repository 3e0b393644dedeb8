// Keeps which bytes of an image are private to one session, and which of those are zeros.
//
//   [0..100 data)  [8192..16384 zeros)  [20480..20490 data)     by begin; adjoining ranges of one kind are merged
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// Ranges that don't overlap, each of data or of zeros. Not thread-safe.
class PrivateRanges {
public:
  /// Makes `[begin, end)`, which is not empty, a range of that kind. When it throws, nothing has changed.
  void set(std::uint64_t begin, std::uint64_t end, bool zero);
  void clear() noexcept;

  bool empty() const noexcept { return ranges_.empty(); }
  std::size_t count() const noexcept { return ranges_.size(); }
  std::size_t zero_count() const noexcept { return zero_count_; }

  /// True when `[begin, end)` lies in one range of that kind.
  bool inside(std::uint64_t begin, std::uint64_t end, bool zero) const;
  /// True when `[begin, end)` lies within a run of zeros that extends beyond it on both sides.
  bool splits_zeros(std::uint64_t begin, std::uint64_t end) const;
  /// How many runs of zeros overlap or adjoin `[begin, end)`.
  std::size_t zeros_at(std::uint64_t begin, std::uint64_t end) const;
  /// How many ranges overlap `[begin, end)`; the count stops at `count_max`.
  std::size_t count_at(std::uint64_t begin, std::uint64_t end, std::size_t count_max) const;
  /// How many ranges there would be after set().
  std::size_t count_after(std::uint64_t begin, std::uint64_t end, bool zero) const;
  /// True when every byte is private.
  bool covers(std::uint64_t offset, std::uint64_t length) const;

  /// Calls `see(begin, end, zero)` for the part of each range that lies within `[begin, end)`, in rising order. None
  /// of them is empty.
  template <class See>
  void visit(std::uint64_t begin, std::uint64_t end, See see) const {
    if (begin == end) return;
    for (auto at = first_behind(begin); at != ranges_.end() && at->first < end; ++at)
      see(std::max(at->first, begin), std::min(at->second.end, end), at->second.zero);
  }
  /// The ranges that overlap `[offset, offset + length)`, uncut, in rising order.
  std::vector<LogRange> list(std::uint64_t offset, std::uint64_t length) const;

private:
  struct Range {
    std::uint64_t end;
    bool zero;
  };
  using Ranges = std::map<std::uint64_t, Range>;  // by begin

  /// The first range that ends behind `offset`.
  Ranges::const_iterator first_behind(std::uint64_t offset) const;
  /// The first range that overlaps what begins at `begin`, or adjoins it.
  Ranges::const_iterator first_at(std::uint64_t begin) const;
  void place(std::uint64_t begin, std::uint64_t end, bool zero);

  Ranges ranges_;
  std::size_t zero_count_ = 0;
};

}  // namespace pageserver::storage
