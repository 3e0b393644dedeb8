// Bytes that one session wrote and nobody else sees: an unpublished transaction, or a fork.
//
// How it works. Three parts keep which ranges are private (PrivateRanges), where their bytes are (PrivateBlocks), and
// what that is charged as (PrivateBudget):
//
//   ranges    [0..100 data)  [8192..16384 zeros)  [20480..20490 data)
//   blocks    block 0: memory                     block 5: slot 3 of the spill file     only where there is data
//   charged   (2 blocks + 1 run of zeros) x 4096 bytes, against the bounds of this overlay and of all forks
//
// A write charges for the worst case, prepares the blocks that it needs beside those that there are, and enters its
// range: all that can fail. Then it takes effect, and what was charged too much is given back (give_back_unused()).
//
// A read lays the ranges over what the caller has read from below (read_over()). To publish, the engine takes the
// ranges as those of one record, with their bytes where they lie in memory (parts()) or, once some are in the file, as
// one stream.
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
/// Ranges take memory, too, which never goes to a file: a block that many of them touch is filled from the image below,
/// and is one range then; once all of them take as much as the bound of memory, any block that is touched is. Zeros
/// that are no whole blocks are kept as bytes. A run of zeros is charged as a whole block, so that a bound in bytes
/// bounds runs of zeros as well. `ranges_max` bounds all of it once more: to publish a range takes several times the
/// memory that it has here. Not thread-safe.
class PrivateBytes {
public:
  struct Options : PrivateBlocks::Options, PrivateBudget::Bounds {
    /// Reads what is below the overlay. Null: blocks are never filled.
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
  /// What counts against the bounds in bytes: whole blocks, and one more for each run of zeros.
  std::uint64_t bytes() const noexcept { return budget_.charged(); }
  std::size_t range_count() const noexcept { return ranges_.count(); }
  bool spilled() const noexcept { return blocks_.spilled(); }

  /// True when every byte of the range is private.
  bool covers(std::uint64_t offset, std::uint64_t length) const { return ranges_.covers(offset, length); }
  /// Copies what is private over `buffer`, which holds the bytes at `offset` below.
  void read_over(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// The data of `ranges`, which are of ranges(), as they lie in memory, zeros left out; valid until the next change.
  /// Nothing when part of it is on disk, or when it would be more than `parts_max`.
  std::vector<std::span<const std::byte>> parts(std::span<const LogRange> ranges, std::size_t parts_max) const;
  /// The changed ranges in rising order, not overlapping; only those that touch `[offset, offset + length)`.
  std::vector<LogRange> ranges(std::uint64_t offset = 0, std::uint64_t length = ~0ull) const {
    return ranges_.list(offset, length);
  }

  static constexpr std::uint64_t block_bytes = PrivateBlocks::block_bytes;
  static constexpr std::uint64_t range_memory_bytes = 64;
  static constexpr std::size_t ranges_in_block_max = 64;

private:
  /// Refuses a change of `[begin, end)` that would leave more ranges than there may be.
  void check_range_count(std::string_view action, std::uint64_t begin, std::uint64_t end, bool zero) const;
  void give_back_unused() noexcept;
  void fill_block(std::uint64_t number);
  void write_ranges(std::uint64_t offset, std::span<const std::byte> data);

  const Options options_;
  PrivateBudget budget_{options_};
  PrivateBlocks blocks_{options_, options_.remedy};
  PrivateRanges ranges_;
};

}  // namespace pageserver::storage
