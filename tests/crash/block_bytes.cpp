#include "tests/crash/block_bytes.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::test {
namespace {

constexpr std::array<std::byte, BlockBytes::block_size> zeros{};

/// Calls `piece(block index, offset in block, length, offset in the range)` for each block that a range touches.
template <typename Piece>
void for_each_block(std::uint64_t offset, std::uint64_t length, Piece piece) {
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t at = offset + done;
    const std::size_t within = static_cast<std::size_t>(at % BlockBytes::block_size);
    const std::size_t count =
        static_cast<std::size_t>(std::min<std::uint64_t>(length - done, BlockBytes::block_size - within));
    piece(static_cast<std::size_t>(at / BlockBytes::block_size), within, count, static_cast<std::size_t>(done));
    done += count;
  }
}

std::uint64_t block_hash(const std::byte* bytes) { return XXH3_64bits(bytes, BlockBytes::block_size); }

}  // namespace

BlockBytes::Block& BlockBytes::own(std::size_t index) {
  auto& block = blocks_[index];
  if (!block) {
    block = std::make_shared<Block>();
  } else if (block.use_count() > 1) {
    block = std::make_shared<Block>(*block);
  }
  block->hash_known = false;
  return *block;
}

void BlockBytes::resize(std::uint64_t size) {
  const std::size_t count = static_cast<std::size_t>((size + block_size - 1) / block_size);
  if (size < size_) {
    const std::size_t within = static_cast<std::size_t>(size % block_size);
    if (within != 0 && blocks_[count - 1]) {
      Block& last = own(count - 1);
      std::fill(last.bytes.begin() + static_cast<std::ptrdiff_t>(within), last.bytes.end(), std::byte{0});
    }
  }
  blocks_.resize(count);
  size_ = size;
}

void BlockBytes::read(std::uint64_t offset, std::span<std::byte> buffer) const {
  assert(offset + buffer.size() <= size_);
  for_each_block(offset, buffer.size(), [&](std::size_t index, std::size_t within, std::size_t count, std::size_t at) {
    const std::byte* from = blocks_[index] ? blocks_[index]->bytes.data() : zeros.data();
    std::memcpy(buffer.data() + at, from + within, count);
  });
}

void BlockBytes::write(std::uint64_t offset, std::span<const std::byte> data) {
  assert(offset + data.size() <= size_);
  for_each_block(offset, data.size(), [&](std::size_t index, std::size_t within, std::size_t count, std::size_t at) {
    std::memcpy(own(index).bytes.data() + within, data.data() + at, count);
  });
}

void BlockBytes::zero(std::uint64_t offset, std::uint64_t length) {
  assert(offset + length <= size_);
  for_each_block(offset, length, [&](std::size_t index, std::size_t within, std::size_t count, std::size_t) {
    if (count == block_size) {
      blocks_[index].reset();
    } else if (blocks_[index]) {
      std::memset(own(index).bytes.data() + within, 0, count);
    }
  });
}

bool BlockBytes::equals(std::uint64_t offset, std::span<const std::byte> data) const {
  if (offset > size_ || data.size() > size_ - offset) return false;
  bool equal = true;
  for_each_block(offset, data.size(), [&](std::size_t index, std::size_t within, std::size_t count, std::size_t at) {
    const std::byte* mine = blocks_[index] ? blocks_[index]->bytes.data() : zeros.data();
    equal = equal && std::memcmp(mine + within, data.data() + at, count) == 0;
  });
  return equal;
}

std::uint64_t BlockBytes::hash() const {
  static const std::uint64_t zero_hash = block_hash(zeros.data());
  std::uint64_t sum = size_ * 0x9e3779b97f4a7c15ull;
  for (std::size_t index = 0; index < blocks_.size(); ++index) {
    std::uint64_t one = zero_hash;
    if (const auto& block = blocks_[index]) {
      if (!block->hash_known) {
        block->hash = block_hash(block->bytes.data());
        block->hash_known = true;
      }
      one = block->hash;
    }
    sum += (one ^ (index * 0xbf58476d1ce4e5b9ull)) * 0x94d049bb133111ebull;
  }
  return sum;
}

bool BlockBytes::has_block(std::uint64_t offset) const {
  const std::size_t index = static_cast<std::size_t>(offset / block_size);
  return index < blocks_.size() && blocks_[index] != nullptr;
}

}  // namespace pageserver::test
