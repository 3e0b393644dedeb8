#include "storage/engine/private_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "storage/file/open_files.hpp"

namespace pageserver::storage {
namespace {

constexpr std::size_t kept_entries_max = 65536;

}  // namespace

PrivateBlocks::PrivateBlocks(const Options& options, const std::string& remedy) : options_{options}, remedy_{remedy} {
  spares_.reserve(static_cast<std::size_t>(options_.spare_bytes_max / block_bytes));
}

void PrivateBlocks::clear() noexcept {
  for (auto& [number, block] : blocks_) keep_memory(std::move(block.memory));
  // The tables of a large transaction are not kept for a small one.
  if (blocks_.bucket_count() > kept_entries_max) Blocks{}.swap(blocks_);
  blocks_.clear();
  memory_blocks_ = 0;
  spill_.close();
  spill_slots_ = 0;
  if (free_slots_.capacity() > kept_entries_max) std::vector<std::uint64_t>{}.swap(free_slots_);
  free_slots_.clear();
}

// The log's next file matters more than a spill: without it no session can write, without a spill only this one can't.
void PrivateBlocks::open_spill() {
  const std::uint64_t limit = open_files_limit();
  const std::uint64_t kept = std::min(options_.descriptors_kept, limit / 4);
  const auto check = [&] {
    const std::uint64_t open = kept == 0 ? 0 : open_files_now();
    if (open < limit - kept) return;
    throw MemoryError{
        Errc::limit_exceeded,
        "write: private bytes beyond limits.private_memory_bytes=" + std::to_string(options_.memory_bytes_max) +
            (options_.memory_share == nullptr ? "" : " or " + options_.memory_share->name()) +
            " go to a file, and of the " + std::to_string(limit) +
            " descriptors that this process may have (ulimit -n) " + std::to_string(open) + " are open and " +
            std::to_string(kept) + " are kept for the store's log; " + remedy_ + ", or raise one of these limits"};
  };
  check();
  try {
    spill_ = options_.spill_folder.create_unnamed(options_.spill_name, "create spill file");
  } catch (const MemoryError&) {
    check();  // again: other threads may have opened files meanwhile
    throw;
  }
}

std::uint64_t PrivateBlocks::take_slot() {
  if (!spill_.is_open()) open_spill();
  if (free_slots_.empty()) return spill_slots_++;
  const std::uint64_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void PrivateBlocks::reserve_slots(std::uint64_t more) {
  const auto needed = static_cast<std::size_t>(spill_slots_ + more);
  if (free_slots_.capacity() < needed) free_slots_.reserve(std::max(needed, 2 * free_slots_.capacity()));
}

void PrivateBlocks::reserve_blocks(std::size_t more) {
  const std::size_t needed = blocks_.size() + more;
  if (needed >= blocks_.bucket_count()) blocks_.reserve(std::max(needed, 2 * blocks_.size()));
}

PrivateBlocks::Memory PrivateBlocks::take_memory() {
  if (spares_.empty()) return Memory(new std::byte[block_bytes]);
  auto memory = std::move(spares_.back());
  spares_.pop_back();
  return memory;
}

void PrivateBlocks::keep_memory(Memory memory) noexcept {
  if (memory && spares_.size() < spares_.capacity()) spares_.push_back(std::move(memory));
}

bool PrivateBlocks::may_keep(Memory& memory, std::uint64_t memory_blocks) const noexcept {
  if ((memory_blocks + 1) * block_bytes > options_.memory_bytes_max) return false;
  base::MemoryShare* const share = options_.memory_share;
  if (share == nullptr || memory.get_deleter().share != nullptr) return true;
  if (!share->take(block_bytes, share->bytes_max() / 2)) return false;
  memory.get_deleter().share = share;
  return true;
}

bool PrivateBlocks::may_spill(std::uint64_t length) const noexcept {
  constexpr std::uint64_t others_bytes = 4ull << 20;
  if (spilled() || memory_blocks_ * block_bytes + length + 2 * block_bytes > options_.memory_bytes_max) return true;
  const base::MemoryShare* const share = options_.memory_share;
  return share != nullptr && share->used() + length + others_bytes > share->bytes_max() / 2;
}

void PrivateBlocks::release(Block& block) noexcept {
  if (block.memory) {
    --memory_blocks_;
    keep_memory(std::move(block.memory));
  } else {
    free_slots_.push_back(block.spill_slot);  // room was reserved
  }
}

PrivateBlocks::Prepared::Prepared(PrivateBlocks& blocks, std::uint64_t offset, std::span<const std::byte> data)
    : blocks_{blocks}, offset_{offset}, data_{data}, memory_blocks_{blocks.memory_blocks_} {
  try {
    fill();
  } catch (...) {
    for (const std::uint64_t slot : slots_) blocks_.free_slots_.push_back(slot);
    throw;
  }
}

PrivateBlocks::Prepared::~Prepared() {
  for (const std::uint64_t slot : slots_) blocks_.free_slots_.push_back(slot);  // room was reserved
}

void PrivateBlocks::Prepared::fill() {
  const std::uint64_t first = offset_ / block_bytes;
  const std::uint64_t last = (offset_ + data_.size() - 1) / block_bytes;
  blocks_.reserve_slots(last - first + 1);
  for (std::uint64_t number = first; number <= last; ++number) fill_block(number);
  if (!fresh_.empty()) blocks_.reserve_blocks(fresh_.size());
}

void PrivateBlocks::Prepared::fill_block(std::uint64_t number) {
  const auto old = blocks_.blocks_.find(number);
  if (old != blocks_.blocks_.end() && old->second.memory) return;  // written over by apply()
  const std::uint64_t begin = std::max(offset_, number * block_bytes);
  const std::uint64_t end = std::min(offset_ + data_.size(), (number + 1) * block_bytes);
  Block& block = fresh_[number];
  auto content = blocks_.take_memory();
  if (end - begin != block_bytes) std::memset(content.get(), 0, block_bytes);
  if (old != blocks_.blocks_.end() && end - begin != block_bytes)
    blocks_.read_block(old->second, 0, {content.get(), block_bytes});
  std::memcpy(content.get() + (begin - number * block_bytes), data_.data() + (begin - offset_), end - begin);
  if (blocks_.may_keep(content, memory_blocks_)) {
    block.memory = std::move(content);
    ++memory_blocks_;
    return;
  }
  if (slots_.empty()) {
    const std::uint64_t last = (offset_ + data_.size() - 1) / block_bytes;
    slots_.reserve(static_cast<std::size_t>(last - number + 1));
  }
  block.spill_slot = blocks_.take_slot();
  slots_.push_back(block.spill_slot);
  blocks_.spill_.write(block.spill_slot * block_bytes, {content.get(), block_bytes});
}

void PrivateBlocks::apply(Prepared& prepared) noexcept {
  const std::uint64_t offset = prepared.offset_;
  const std::span<const std::byte> data = prepared.data_;
  const std::uint64_t last = (offset + data.size() - 1) / block_bytes;
  for (std::uint64_t number = offset / block_bytes; number <= last; ++number) {
    const auto old = blocks_.find(number);
    if (old == blocks_.end() || !old->second.memory) continue;
    const std::uint64_t begin = std::max(offset, number * block_bytes);
    const std::uint64_t end = std::min(offset + data.size(), (number + 1) * block_bytes);
    std::memcpy(old->second.memory.get() + (begin - number * block_bytes), data.data() + (begin - offset), end - begin);
  }
  for (auto& [number, block] : prepared.fresh_) {
    if (block.memory) ++memory_blocks_;
    const auto old = blocks_.find(number);
    if (old == blocks_.end()) continue;
    release(old->second);
    old->second = std::move(block);
  }
  blocks_.merge(prepared.fresh_);
  prepared.slots_.clear();
}

bool PrivateBlocks::any(std::uint64_t first, std::uint64_t end) const {
  if (end - first > blocks_.size())
    return std::any_of(blocks_.begin(), blocks_.end(),
                       [&](const auto& block) { return block.first >= first && block.first < end; });
  for (std::uint64_t number = first; number < end; ++number)
    if (blocks_.contains(number)) return true;
  return false;
}

void PrivateBlocks::drop(std::uint64_t first, std::uint64_t end) noexcept {
  const auto drop_at = [&](Blocks::iterator found) {
    release(found->second);
    return blocks_.erase(found);
  };
  if (end - first <= blocks_.size()) {
    for (std::uint64_t number = first; number < end; ++number)
      if (const auto found = blocks_.find(number); found != blocks_.end()) drop_at(found);
    return;
  }
  for (auto at = blocks_.begin(); at != blocks_.end();)
    at = at->first >= first && at->first < end ? drop_at(at) : std::next(at);
}

void PrivateBlocks::read_block(const Block& block, std::uint64_t within, std::span<std::byte> buffer) const {
  if (block.memory)
    std::memcpy(buffer.data(), block.memory.get() + within, buffer.size());
  else
    spill_.read(block.spill_slot * block_bytes + within, buffer);
}

void PrivateBlocks::read(std::uint64_t offset, std::span<std::byte> buffer) const {
  while (!buffer.empty()) {
    const std::uint64_t within = offset % block_bytes;
    const std::uint64_t bytes = std::min<std::uint64_t>(block_bytes - within, buffer.size());
    read_block(blocks_.at(offset / block_bytes), within, buffer.first(bytes));
    buffer = buffer.subspan(bytes);
    offset += bytes;
  }
}

bool PrivateBlocks::add_parts(std::uint64_t offset, std::uint64_t length, std::size_t parts_max,
                              std::vector<std::span<const std::byte>>& parts) const {
  for (const std::uint64_t end = offset + length; offset < end;) {
    const std::uint64_t within = offset % block_bytes;
    const std::uint64_t bytes = std::min(block_bytes - within, end - offset);
    const std::byte* const memory = blocks_.at(offset / block_bytes).memory.get();
    if (memory == nullptr || parts.size() == parts_max) return false;
    parts.emplace_back(memory + within, bytes);
    offset += bytes;
  }
  return true;
}

}  // namespace pageserver::storage
