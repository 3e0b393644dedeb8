// Bytes that one session wrote and nobody else sees: an unpublished transaction, or a fork.
//
// How it works. Three things are kept: which ranges are private, where their bytes are, and what that is charged as.
//
//   ranges_    [0..100 data)  [8192..16384 zeros)  [20480..20490 data)    by begin; adjoining ones of a kind are one
//   blocks_    block 0: memory                     block 5: slot 3 of the spill file     only where there is data
//   charged_   (2 blocks + 1 run of zeros) x 4096 bytes, against the bounds of this overlay and of all forks
//
// A write charges for the worst case, fills the blocks that it needs beside those that there are, and enters its range:
// all that can fail. Then it takes effect: blocks in memory are written over, blocks in the file are replaced by the
// new ones, since a write to the file can fail. What was charged too much is given back (settle()).
//
// A read lays the ranges over what the caller has read from below (read_over()). To publish, the engine takes the
// ranges as those of one record, with their bytes where they lie in memory (parts()) or, once some are in the file, as
// one stream.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// An overlay of changed ranges. The bytes live in blocks of 4 KiB, in memory up to a bound and beyond it in a file
/// that has no name, so that it goes with the process. A call that throws has changed nothing.
///
/// Ranges take memory, too, which never goes to a file: a block that many of them touch is filled from the image below,
/// and is one range then; once all of them take as much as the bound of memory, any block that is touched is. Zeros
/// that are no whole blocks are kept as bytes. A run of zeros is charged as a whole block, so that a bound in bytes
/// bounds runs of zeros as well. `ranges_max` bounds all of it once more: to publish a range takes several times the
/// memory that it has here. Not thread-safe.
class PrivateBytes {
public:
  struct Options {
    Folder spill_folder;     ///< where the file is made; it has no name
    std::string spill_name;  ///< while it is made
    std::uint64_t memory_bytes_max = 0;
    /// Descriptors of this process that the file leaves for others, where so many may be had at all: a quarter of the
    /// limit at most. Beyond: limit_exceeded.
    std::uint64_t descriptors_kept = 0;
    /// Reads what is below the overlay. Null: blocks are never filled.
    std::function<void(std::uint64_t offset, std::span<std::byte> buffer)> base;
    std::uint64_t bytes_max = ~0ull;   ///< of this overlay; beyond: limit_exceeded
    std::string bytes_max_name;        ///< how messages call that limit
    std::uint64_t ranges_max = ~0ull;  ///< of this overlay; beyond: limit_exceeded
    std::string ranges_max_name;
    std::string remedy = "discard";                     ///< what gives all of it back, for messages
    std::atomic<std::uint64_t>* total_bytes = nullptr;  ///< of all that share a bound; outlives this
    std::uint64_t total_bytes_max = ~0ull;
    std::string total_bytes_max_name;
    /// Of memory that is not needed any more, kept for later writes: to get it from the system again, page by page,
    /// costs more than to fill it. 0: none.
    std::uint64_t spare_bytes_max = 0;
    std::atomic<std::uint64_t>* part_bytes = nullptr;  ///< the part of `total_bytes` that one store reports, or null
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
  std::uint64_t bytes() const noexcept { return charged_; }
  std::size_t range_count() const noexcept { return ranges_.size(); }
  bool spilled() const noexcept { return spill_.is_open(); }

  /// True when every byte of the range is private.
  bool covers(std::uint64_t offset, std::uint64_t length) const;
  /// Copies what is private over `buffer`, which holds the bytes at `offset` below.
  void read_over(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// The data of `ranges`, which are of ranges(), as they lie in memory, zeros left out; valid until the next change.
  /// Nothing when part of it is on disk, or when it would be more than `parts_max`.
  std::vector<std::span<const std::byte>> parts(std::span<const LogRange> ranges, std::size_t parts_max) const;
  /// The changed ranges in rising order, not overlapping; only those that touch `[offset, offset + length)`.
  std::vector<LogRange> ranges(std::uint64_t offset = 0, std::uint64_t length = ~0ull) const;

  static constexpr std::uint64_t block_bytes = 4096;
  static constexpr std::uint64_t range_memory_bytes = 64;
  static constexpr std::size_t ranges_in_block_max = 64;

private:
  struct Range {
    std::uint64_t end;
    bool zero;
  };
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::uint64_t spill_slot = 0;  // where memory is null
  };

  using Ranges = std::map<std::uint64_t, Range>;  // by begin; adjoining ranges of one kind are one

  void charge(std::string_view action, std::uint64_t bytes);
  /// Refuses a change of `[begin, end)` that would leave more ranges than there may be.
  void check_range_count(std::string_view action, std::uint64_t begin, std::uint64_t end, bool zero) const;
  void give_back(std::uint64_t bytes) noexcept;
  void settle() noexcept;
  Ranges::const_iterator range_from(std::uint64_t offset) const;
  bool inside(std::uint64_t begin, std::uint64_t end, bool zero) const;
  bool splits_zeros(std::uint64_t begin, std::uint64_t end) const;
  std::size_t zero_ranges_at(std::uint64_t begin, std::uint64_t end) const;
  void fill_block(std::uint64_t number);
  void write_ranges(std::uint64_t offset, std::span<const std::byte> data);
  void open_spill();
  std::uint64_t take_slot();
  void reserve_slots(std::uint64_t more);
  void reserve_blocks(std::size_t more);
  /// Of `block_bytes`, with any content.
  std::unique_ptr<std::byte[]> take_memory();
  void keep_memory(std::unique_ptr<std::byte[]> memory) noexcept;
  void place_range(std::uint64_t begin, std::uint64_t end, bool zero);
  void set_range(std::uint64_t begin, std::uint64_t end, bool zero);
  void release_block(Block& block) noexcept;
  void read_block(const Block& block, std::uint64_t within, std::span<std::byte> buffer) const;

  Options options_;
  Ranges ranges_;
  std::unordered_map<std::uint64_t, Block> blocks_;
  std::uint64_t memory_blocks_ = 0;
  std::uint64_t zero_ranges_ = 0;
  std::uint64_t charged_ = 0;
  File spill_;
  std::uint64_t spill_slots_ = 0;
  std::vector<std::uint64_t> free_slots_;
  std::vector<std::unique_ptr<std::byte[]>> spares_;
};

}  // namespace pageserver::storage
