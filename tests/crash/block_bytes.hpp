// Bytes that are cheap to copy: the content of a simulated file, and of an image in the model.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace pageserver::test {

/// A growable array of bytes in blocks that copies share until one of them is written. Blocks never written are zeros
/// and take no room. Not thread-safe.
class BlockBytes {
public:
  static constexpr std::size_t block_size = 4096;

  std::uint64_t size() const { return size_; }
  /// Shrinking drops bytes; growing appends zeros, whatever was there before a shrink.
  void resize(std::uint64_t size);
  /// The range must lie within size().
  void read(std::uint64_t offset, std::span<std::byte> buffer) const;
  void write(std::uint64_t offset, std::span<const std::byte> data);
  void zero(std::uint64_t offset, std::uint64_t length);
  /// True when `data` are the bytes at `offset`.
  bool equals(std::uint64_t offset, std::span<const std::byte> data) const;
  /// Depends on size and content only. Costs the blocks that changed since it was asked last.
  std::uint64_t hash() const;
  /// True when the block holding `offset` was written and not dropped since.
  bool has_block(std::uint64_t offset) const;

private:
  struct Block {
    std::array<std::byte, block_size> bytes{};
    mutable std::uint64_t hash = 0;
    mutable bool hash_known = false;
  };
  Block& own(std::size_t index);

  std::uint64_t size_ = 0;
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace pageserver::test
