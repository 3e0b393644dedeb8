// Which pages were written by which version last, to within a bucket of pages: for who asks what was written lately,
// also of pages that a checkpoint has taken out of the log's index meanwhile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace pageserver::storage {

/// Notes nothing, and costs a publish one comparison, until watch(). Not thread-safe.
class RecentWrites {
public:
  using Versions = std::vector<std::uint64_t>;
  /// Up to so many pages each has a bucket of its own; with twice as many pages two share one, and so on.
  static constexpr std::size_t buckets = 16384;

  static Versions make_room() { return Versions(buckets); }
  bool watched() const noexcept { return !versions_.empty(); }
  /// From now on it notes. `room` is from make_room().
  void watch(Versions room) noexcept { versions_ = std::move(room); }

  /// `version` wrote to the pages `[first, last]`.
  void note(std::uint64_t first, std::uint64_t last, std::uint64_t version) noexcept {
    if (versions_.empty()) return;
    while (last >> shift_ >= buckets) fold();
    std::fill(at(first), at(last) + 1, version);
  }

  /// As they are now.
  struct View {
    Versions versions;  ///< empty: nothing was noted
    unsigned shift = 0;

    /// The newest version that is known to have written to `page` or its neighbours; 0: none is.
    std::uint64_t newest(std::uint64_t page) const noexcept {
      return page >> shift < versions.size() ? versions[page >> shift] : 0;
    }
  };
  /// Throws std::bad_alloc.
  View view() const { return {versions_, shift_}; }

private:
  Versions::iterator at(std::uint64_t page) noexcept {
    return versions_.begin() + static_cast<std::ptrdiff_t>(page >> shift_);
  }
  void fold() noexcept {
    for (std::size_t i = 0; i < buckets / 2; ++i) versions_[i] = std::max(versions_[2 * i], versions_[2 * i + 1]);
    std::fill(versions_.begin() + buckets / 2, versions_.end(), 0);
    ++shift_;
  }

  Versions versions_;
  unsigned shift_ = 0;
};

}  // namespace pageserver::storage
