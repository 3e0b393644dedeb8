// Where the private bytes of a session are: blocks of 4 KiB in memory, and beyond a bound in a file without a name.
//
//   block 0: memory      block 5: slot 3 of the file      block 6: nothing of it is private, or all of it zeros
//
// A write has two halves, so that it can fail and change nothing. Prepared fills the blocks that it needs beside those
// that there are; it also replaces blocks in the file, since a write to that can fail. apply() then swaps them in and
// writes over blocks in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class PrivateBlocks {
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::uint64_t spill_slot = 0;  // where memory is null
  };
  using Blocks = std::unordered_map<std::uint64_t, Block>;  // by number

public:
  static constexpr std::uint64_t block_bytes = 4096;

  struct Options {
    Folder spill_folder;     ///< where the file is made; it has no name
    std::string spill_name;  ///< while it is made
    std::uint64_t memory_bytes_max = 0;
    /// Descriptors of this process that the file leaves for others, where so many may be had at all: a quarter of the
    /// limit at most. Beyond: limit_exceeded.
    std::uint64_t descriptors_kept = 0;
    /// Of memory that is not needed any more, kept for later writes: to get it from the system again, page by page,
    /// costs more than to fill it. 0: none.
    std::uint64_t spare_bytes_max = 0;
  };

  /// Both outlive this. `remedy`: what gives all of it back, for messages.
  PrivateBlocks(const Options& options, const std::string& remedy);
  PrivateBlocks(const PrivateBlocks&) = delete;
  PrivateBlocks& operator=(const PrivateBlocks&) = delete;

  bool contains(std::uint64_t number) const { return blocks_.contains(number); }
  /// Whether any of the blocks `[first, end)` is there.
  bool any(std::uint64_t first, std::uint64_t end) const;
  std::size_t count() const noexcept { return blocks_.size(); }
  bool spilled() const noexcept { return spill_.is_open(); }

  /// The first half of a write of `data` at `offset`, which is not empty; goes without effect where apply() never came.
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
    std::uint64_t memory_blocks_;       // with those of `fresh_`
    std::vector<std::uint64_t> slots_;  // taken for `fresh_`
  };
  void apply(Prepared& prepared) noexcept;

  /// What drop() needs besides; may throw.
  void prepare_drop() { reserve_slots(0); }
  /// Drops the blocks `[first, end)`.
  void drop(std::uint64_t first, std::uint64_t end) noexcept;
  void clear() noexcept;

  /// All blocks of the range are there.
  void read(std::uint64_t offset, std::span<std::byte> buffer) const;
  /// Appends the range's bytes as they lie in memory, valid until the next change. False when part of it is in the file
  /// or when it would be more than `parts_max` in all.
  bool add_parts(std::uint64_t offset, std::uint64_t length, std::size_t parts_max,
                 std::vector<std::span<const std::byte>>& parts) const;

private:
  void open_spill();
  std::uint64_t take_slot();
  /// Room to give back every slot that there is, and so many more.
  void reserve_slots(std::uint64_t more);
  /// Room for so many more, so that to merge them in takes no memory. A table that grows doubles.
  void reserve_blocks(std::size_t more);
  /// Of `block_bytes`, with any content.
  std::unique_ptr<std::byte[]> take_memory();
  void keep_memory(std::unique_ptr<std::byte[]> memory) noexcept;
  void release(Block& block) noexcept;
  void read_block(const Block& block, std::uint64_t within, std::span<std::byte> buffer) const;

  const Options& options_;
  const std::string& remedy_;
  Blocks blocks_;
  std::uint64_t memory_blocks_ = 0;
  File spill_;
  std::uint64_t spill_slots_ = 0;
  std::vector<std::uint64_t> free_slots_;
  std::vector<std::unique_ptr<std::byte[]>> spares_;
};

}  // namespace pageserver::storage
