// Private bytes of a session in blocks of 4 KiB: in memory, and beyond a bound in a file without a name, the spill.
//
//   block 0: memory      block 5: slot 3 of the file      block 6: nothing of it is private, or all of it zeros
//
// A write has two halves, so that it can fail and change nothing. Prepared makes and fills the blocks that are new, and
// new copies of blocks in the file, since writing to that can fail. apply() then puts these in place, and writes over
// the blocks that are in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/memory_share.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class PrivateBlocks {
public:
  static constexpr std::uint64_t block_bytes = 4096;

private:
  /// Gives back what was taken of a share, if anything was.
  struct FreeMemory {
    FreeMemory() noexcept : share{nullptr} {}
    base::MemoryShare* share;
    void operator()(const std::byte* memory) const noexcept {
      delete[] memory;
      if (share != nullptr) share->give_back(block_bytes);
    }
  };
  using Memory = std::unique_ptr<std::byte[], FreeMemory>;
  struct Block {
    Memory memory;
    std::uint64_t spill_slot = 0;  // where memory is null
  };
  using Blocks = std::unordered_map<std::uint64_t, Block>;  // by number

public:
  struct Options {
    Folder spill_folder;     ///< where the file is made; it has no name
    std::string spill_name;  ///< its name for the moment between creating and unlinking it
    std::uint64_t memory_bytes_max = 0;
    /// What all that is private may have of the process's memory, or null. Blocks take no more than half of it: the
    /// other is for what finds them, which can't go to the file.
    base::MemoryShare* memory_share = nullptr;
    /// How many descriptors of this process must stay free for others when the spill is opened, but at most a quarter
    /// of the limit. Fewer: limit_exceeded.
    std::uint64_t descriptors_kept = 0;
    /// How much memory that is not needed any more is kept for later writes. To get memory from the system again, page
    /// by page, costs more than to fill it. 0: none.
    std::uint64_t spare_bytes_max = 0;
  };

  /// Both outlive this. `remedy`: for messages, the call that gives all of the memory back.
  PrivateBlocks(const Options& options, const std::string& remedy);
  PrivateBlocks(const PrivateBlocks&) = delete;
  PrivateBlocks& operator=(const PrivateBlocks&) = delete;

  bool contains(std::uint64_t number) const { return blocks_.contains(number); }
  /// Whether any of the blocks `[first, end)` exists.
  bool any(std::uint64_t first, std::uint64_t end) const;
  std::size_t count() const noexcept { return blocks_.size(); }
  bool spilled() const noexcept { return spill_.is_open(); }
  /// It has the file, or a write of so many bytes may open it; sometimes true where it does not, since others take
  /// memory at the same time.
  bool may_spill(std::uint64_t length) const noexcept;

  /// The first half of a write of `data`, which is not empty, at `offset`. Destroyed without apply(), it changes
  /// nothing.
  class Prepared {
  public:
    Prepared(PrivateBlocks& blocks, std::uint64_t offset, std::span<const std::byte> data);
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;
    ~Prepared();

  private:
    friend class PrivateBlocks;
    void fill();
    void fill_block(std::uint64_t number);

    PrivateBlocks& blocks_;
    const std::uint64_t offset_;
    const std::span<const std::byte> data_;
    Blocks fresh_;
    std::uint64_t memory_blocks_;       // blocks in memory, including those of `fresh_`
    std::vector<std::uint64_t> slots_;  // of the file, taken for `fresh_`
  };
  void apply(Prepared& prepared) noexcept;

  /// Reserves the memory that drop() needs, which may then not throw.
  void prepare_drop() { reserve_slots(0); }
  /// Drops the blocks `[first, end)`.
  void drop(std::uint64_t first, std::uint64_t end) noexcept;
  void clear() noexcept;

  /// Reads the range; all of its blocks exist.
  void read(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// Appends spans of the range's bytes in memory, valid until the next change. False when a part of the range is in
  /// the file, or when there would be more than `parts_max` spans in all.
  bool add_parts(std::uint64_t offset, std::uint64_t length, std::size_t parts_max,
                 std::vector<std::span<const std::byte>>& parts) const;

private:
  void open_spill();
  std::uint64_t take_slot();
  /// Reserves room in the list of free slots for all slots that exist, and this many more.
  void reserve_slots(std::uint64_t more);
  /// Reserves room in the table for this many more blocks, so that inserting them takes no memory. A table that grows
  /// doubles.
  void reserve_blocks(std::size_t more);
  /// Of `block_bytes`, with any content.
  Memory take_memory();
  void keep_memory(Memory memory) noexcept;
  /// Whether it may stay in memory.
  bool may_keep(Memory& memory, std::uint64_t memory_blocks) const noexcept;
  void release(Block& block) noexcept;
  void read_block(const Block& block, std::uint64_t within, std::span<std::byte> buffer) const;

  const Options& options_;
  const std::string& remedy_;
  Blocks blocks_;
  std::uint64_t memory_blocks_ = 0;
  File spill_;
  std::uint64_t spill_slots_ = 0;
  std::vector<std::uint64_t> free_slots_;
  std::vector<Memory> spares_;
};

}  // namespace pageserver::storage
