// What it takes to find bytes in the log: memory of the index, and of the small ranges that are kept beside it.
#pragma once

#include <cstdint>
#include <utility>

#include "base/memory_share.hpp"

namespace pageserver::storage {

/// All stores of a process share a bound. Where it is passed, those with much of it make checkpoints, and give up the
/// versions that pins and forks hold. Not thread-safe.
class IndexMemory {
public:
  /// `share`: of all stores, outlives this; null: there is no bound.
  explicit IndexMemory(base::MemoryShare* share) noexcept : share_{share}, part_{share} {}

  /// Whether the small ranges of a record are kept in memory as well: reading a page of many small changes is then not
  /// many calls.
  bool keeps_small() const noexcept {
    constexpr std::uint64_t small_bytes_max = 32ull << 20;
    return small_bytes_ < small_bytes_max && (share_ == nullptr || share_->used() < share_->bytes_max() / 2);
  }
  void add_small(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t overhead_bytes = 64;  // of the allocator and the counters
    small_bytes_ += bytes + overhead_bytes;
  }
  /// A checkpoint has dropped them.
  void forget_small() noexcept { small_bytes_ = 0; }

  /// The index itself takes `index_bytes` now.
  void note(std::uint64_t index_bytes) noexcept { part_.set(index_bytes + small_bytes_); }
  /// There is too much of it in all, and of that this store has not the least.
  bool is_to_shrink() const noexcept { return part_.is_to_shrink(); }

  /// Whether a version that is held may be given up now, so that there is less. True once between two rounds of the
  /// checkpoint where another one comes: only after that is it seen what the last one gave free. `rounds_ended`: see
  /// RoomWaiters.
  bool claim_giving_up(std::uint64_t rounds_ended, bool round_comes) noexcept {
    return std::exchange(given_up_at_, rounds_ended + 1) != rounds_ended + 1 || !round_comes;
  }

private:
  const base::MemoryShare* const share_;
  base::MemoryPart part_;
  std::uint64_t small_bytes_ = 0;
  std::uint64_t given_up_at_ = 0;  // rounds_ended and one more; 0: none was given up
};

}  // namespace pageserver::storage
