// Bytes that one session wrote and nobody else sees: an unpublished transaction, or a fork.
//
// How it works. PrivateRanges keeps which ranges are private, PrivateBlocks their bytes, and PrivateBudget how much of
// the limits that takes:
//
//   ranges    [0..100 data)  [8192..16384 zeros)  [20480..20490 data)
//   blocks    block 0: memory                     block 5: slot 3 of the spill file     only where there is data
//   charged   (2 blocks + 1 run of zeros) x 4096 bytes, against the bounds of this overlay and of all forks
//
// A write charges the budget for the worst case, prepares new blocks, and enters its range. Each of these may fail.
// Then the write takes effect, and give_back_unused() gives back what was charged too much.
//
// read_over() lays the private ranges over bytes that the caller has read from below. To publish, the engine appends
// the ranges as one record: with their bytes from memory (parts()), or as one stream once some are in the spill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/engine/private_blocks.hpp"
#include "storage/engine/private_budget.hpp"
#include "storage/engine/private_ranges.hpp"
#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// An overlay of changed ranges. A call that throws has changed nothing.
///
/// Ranges take memory as well, which never goes to the spill. So a block that many ranges touch is filled from the
/// image below, which makes one range of them; once all ranges together take as much memory as blocks may, this is done
/// for each block that is touched. Zeros that are less than a block are kept as bytes. A run of zeros is charged as one
/// block, so that a bound in bytes also bounds the number of runs. `ranges_max` bounds all ranges together, since
/// publishing one takes several times the memory that it takes here. Not thread-safe.
class PrivateBytes {
public:
  struct Options : PrivateBlocks::Options, PrivateBudget::Bounds {
    /// Reads the bytes below the overlay. Null: blocks are never filled.
    std::function<void(std::uint64_t offset, std::span<std::byte> buffer)> base;
    std::uint64_t ranges_max = ~0ull;  ///< of this overlay; beyond: limit_exceeded
    std::string ranges_max_name;
  };

  explicit PrivateBytes(Options options);
  PrivateBytes(const PrivateBytes&) = delete;
  PrivateBytes& operator=(const PrivateBytes&) = delete;
  ~PrivateBytes();

  void write(std::uint64_t offset, std::span<const std::byte> data);
  void zero(std::uint64_t offset, std::uint64_t length);
  void clear() noexcept;

  bool empty() const noexcept { return ranges_.empty(); }
  /// The bytes that are charged: whole blocks, and one block for each run of zeros.
  std::uint64_t bytes() const noexcept { return budget_.charged(); }
  std::size_t range_count() const noexcept { return ranges_.count(); }
  bool spilled() const noexcept { return blocks_.spilled(); }
  /// Whether a change of so many bytes may go to the spill, which may take long.
  bool may_spill(std::uint64_t length) const noexcept { return blocks_.may_spill(length); }

  /// True when every byte of the range is private.
  bool covers(std::uint64_t offset, std::uint64_t length) const { return ranges_.covers(offset, length); }
  /// Copies the private bytes over `buffer`, which holds the bytes below, from `offset` on.
  void read_over(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// Spans of the data of `ranges`, which come from ranges(), in memory and without zeros; valid until the next change.
  /// Empty when a part is in the spill, or when there would be more than `parts_max` spans.
  std::vector<std::span<const std::byte>> parts(std::span<const LogRange> ranges, std::size_t parts_max) const;
  /// The changed ranges in rising order, not overlapping; only those that touch `[offset, offset + length)`.
  std::vector<LogRange> ranges(std::uint64_t offset = 0, std::uint64_t length = ~0ull) const {
    return ranges_.list(offset, length);
  }

  static constexpr std::uint64_t block_bytes = PrivateBlocks::block_bytes;
  static constexpr std::uint64_t range_memory_bytes = 64;
  static constexpr std::uint64_t block_memory_bytes = 80;  ///< to find one
  static constexpr std::size_t ranges_in_block_max = 64;

private:
  /// Throws limit_exceeded when a change of `[begin, end)` would leave more than `ranges_max` ranges.
  void check_range_count(std::string_view action, std::uint64_t begin, std::uint64_t end, bool zero) const;
  void give_back_unused() noexcept;
  /// Refuses what needs more memory to find it than there is for all.
  void check_memory(std::string_view action) const;
  void fill_block(std::uint64_t number);
  void write_ranges(std::uint64_t offset, std::span<const std::byte> data);

  const Options options_;
  PrivateBudget budget_{options_};
  PrivateBlocks blocks_{options_, options_.remedy};
  PrivateRanges ranges_;
  base::MemoryPart memory_{options_.memory_share};  // of blocks' and ranges' tables
};

}  // namespace pageserver::storage
