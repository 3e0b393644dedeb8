#include "storage/engine/private_bytes.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/mutation.hpp"
#include "storage/file/open_files.hpp"

namespace pageserver::storage {
namespace {

constexpr std::size_t kept_entries_max = 65536;

}  // namespace

PrivateBytes::PrivateBytes(Options options) : options_{std::move(options)} {
  spares_.reserve(static_cast<std::size_t>(options_.spare_bytes_max / block_bytes));
}

PrivateBytes::~PrivateBytes() { clear(); }

void PrivateBytes::clear() noexcept {
  if (!mutated(Mutation::keep_private_charge)) give_back(charged_);
  for (auto& [number, block] : blocks_) keep_memory(std::move(block.memory));
  // The tables of a large transaction are not kept for a small one.
  if (blocks_.bucket_count() > kept_entries_max) std::unordered_map<std::uint64_t, Block>{}.swap(blocks_);
  blocks_.clear();
  ranges_.clear();
  memory_blocks_ = 0;
  zero_ranges_ = 0;
  spill_.close();
  spill_slots_ = 0;
  if (free_slots_.capacity() > kept_entries_max) std::vector<std::uint64_t>{}.swap(free_slots_);
  free_slots_.clear();
}

void PrivateBytes::charge(std::string_view action, std::uint64_t more) {
  if (more == 0) return;
  const auto refuse = [&](std::uint64_t held, const std::string& name, std::uint64_t limit) {
    throw MemoryError{Errc::limit_exceeded, std::string{action} + " of " + std::to_string(more) +
                                                " further private bytes to " + std::to_string(held) + " exceeds " +
                                                name + "=" + std::to_string(limit) + "; " + options_.remedy +
                                                ", or raise that limit"};
  };
  const bool bounded = !mutated(Mutation::skip_private_bound);
  if (bounded && (more > options_.bytes_max || charged_ > options_.bytes_max - more))
    refuse(charged_, options_.bytes_max_name, options_.bytes_max);
  if (options_.total_bytes != nullptr) {
    const std::uint64_t before = options_.total_bytes->fetch_add(more);
    if (bounded && (more > options_.total_bytes_max || before > options_.total_bytes_max - more)) {
      options_.total_bytes->fetch_sub(more);
      refuse(before, options_.total_bytes_max_name, options_.total_bytes_max);
    }
    if (options_.part_bytes != nullptr) options_.part_bytes->fetch_add(more);
  }
  charged_ += more;
}

void PrivateBytes::give_back(std::uint64_t bytes) noexcept {
  charged_ -= bytes;
  if (options_.total_bytes == nullptr) return;
  options_.total_bytes->fetch_sub(bytes);
  if (options_.part_bytes != nullptr) options_.part_bytes->fetch_sub(bytes);
}

/// Gives back what was charged for the worst case, or is not there any more.
void PrivateBytes::settle() noexcept {
  const std::uint64_t due = (blocks_.size() + zero_ranges_) * block_bytes;
  if (charged_ > due) give_back(charged_ - due);
}

void PrivateBytes::check_range_count(std::string_view action, std::uint64_t begin, std::uint64_t end, bool zero) const {
  constexpr std::uint64_t more_max = 2;  // one that is in the middle of another
  if (ranges_.size() + more_max <= options_.ranges_max || mutated(Mutation::skip_range_bound)) return;
  auto at = ranges_.lower_bound(begin);
  if (at != ranges_.begin() && std::prev(at)->second.end >= begin) --at;
  std::uint64_t count = ranges_.size() + 1;
  for (; at != ranges_.end() && at->first <= end; ++at) {
    const bool joins = at->second.zero == zero;
    if (!joins && (at->first == end || at->second.end == begin)) continue;
    --count;
    if (!joins) count += (at->first < begin ? 1u : 0u) + (at->second.end > end ? 1u : 0u);
  }
  if (count <= options_.ranges_max || count <= ranges_.size()) return;
  throw MemoryError{Errc::limit_exceeded,
                    std::string{action} + " offset=" + std::to_string(begin) +
                        " length=" + std::to_string(end - begin) + " beside " + std::to_string(ranges_.size()) +
                        " private ranges apart from it exceeds " + options_.ranges_max_name + "=" +
                        std::to_string(options_.ranges_max) + "; " + options_.remedy + ", or raise that limit"};
}

// A log that can't have its next file stops everybody who writes; this only who has much that is private.
void PrivateBytes::open_spill() {
  const std::uint64_t limit = open_files_limit();
  const std::uint64_t kept = std::min(options_.descriptors_kept, limit / 4);
  const std::uint64_t open = kept == 0 ? 0 : open_files_now();
  if (open >= limit - kept)
    throw MemoryError{Errc::limit_exceeded,
                      "write: private bytes beyond limits.private_memory_bytes=" +
                          std::to_string(options_.memory_bytes_max) + " go to a file, and of the " +
                          std::to_string(limit) + " descriptors that this process may have (ulimit -n) " +
                          std::to_string(open) + " are open and " + std::to_string(kept) +
                          " are kept for the store's log; " + options_.remedy + ", or raise one of these limits"};
  spill_ = options_.spill_folder.create_unnamed(options_.spill_name, "create spill file");
}

std::uint64_t PrivateBytes::take_slot() {
  if (!spill_.is_open()) open_spill();
  if (free_slots_.empty()) return spill_slots_++;
  const std::uint64_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

/// Room to give back every slot that there is, and so many more.
void PrivateBytes::reserve_slots(std::uint64_t more) {
  const auto needed = static_cast<std::size_t>(spill_slots_ + more);
  if (free_slots_.capacity() < needed) free_slots_.reserve(std::max(needed, 2 * free_slots_.capacity()));
}

/// Room for so many more, so that to merge them in takes no memory. A table that grows doubles.
void PrivateBytes::reserve_blocks(std::size_t more) {
  const std::size_t needed = blocks_.size() + more;
  if (needed >= blocks_.bucket_count()) blocks_.reserve(std::max(needed, 2 * blocks_.size()));
}

std::unique_ptr<std::byte[]> PrivateBytes::take_memory() {
  if (spares_.empty()) return std::make_unique_for_overwrite<std::byte[]>(block_bytes);
  auto memory = std::move(spares_.back());
  spares_.pop_back();
  return memory;
}

void PrivateBytes::keep_memory(std::unique_ptr<std::byte[]> memory) noexcept {
  if (memory && spares_.size() < spares_.capacity()) spares_.push_back(std::move(memory));
}

/// The first range that ends behind `offset`.
PrivateBytes::Ranges::const_iterator PrivateBytes::range_from(std::uint64_t offset) const {
  auto at = ranges_.upper_bound(offset);
  if (at != ranges_.begin() && std::prev(at)->second.end > offset) --at;
  return at;
}

/// True when `[begin, end)` lies in one range of that kind.
bool PrivateBytes::inside(std::uint64_t begin, std::uint64_t end, bool zero) const {
  const auto at = range_from(begin);
  return at != ranges_.end() && at->first <= begin && at->second.end >= end && at->second.zero == zero;
}

/// True when `[begin, end)` lies in a run of zeros that goes on on both sides.
bool PrivateBytes::splits_zeros(std::uint64_t begin, std::uint64_t end) const {
  if (!inside(begin, end, true)) return false;
  const auto at = range_from(begin);
  return at->first < begin && end < at->second.end;
}

void PrivateBytes::fill_block(std::uint64_t number) {
  const std::uint64_t begin = number * block_bytes;
  const bool crowded =
      ranges_.size() * range_memory_bytes >= options_.memory_bytes_max || ranges_.size() >= options_.ranges_max / 2;
  const std::size_t count_max = crowded ? 1 : ranges_in_block_max;
  std::size_t count = 0;
  for (auto at = range_from(begin); at != ranges_.end() && at->first < begin + block_bytes && count < count_max; ++at)
    ++count;
  if (count < count_max) return;
  if (count == 1 && covers(begin, block_bytes)) return;
  std::vector<std::byte> content(block_bytes);
  options_.base(begin, content);
  read_over(begin, content);
  write_ranges(begin, content);
}

void PrivateBytes::write(std::uint64_t offset, std::span<const std::byte> data) {
  if (data.empty()) return;
  if (options_.base) {
    const std::uint64_t end = offset + data.size();
    if (offset % block_bytes != 0) fill_block(offset / block_bytes);
    if (end % block_bytes != 0 && (end / block_bytes != offset / block_bytes || offset % block_bytes == 0))
      fill_block(end / block_bytes);
  }
  write_ranges(offset, data);
}

void PrivateBytes::write_ranges(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t first = offset / block_bytes;
  const std::uint64_t last = (offset + data.size() - 1) / block_bytes;
  std::uint64_t new_blocks = 0;
  for (std::uint64_t number = first; number <= last; ++number) new_blocks += blocks_.contains(number) ? 0u : 1u;
  check_range_count("write", offset, offset + data.size(), false);
  // One in the middle of a run of zeros makes two of it.
  if (splits_zeros(offset, offset + data.size())) ++new_blocks;
  const std::uint64_t more = new_blocks * block_bytes;
  charge("write", more);

  // All that can fail comes first: new blocks are filled beside the old ones, and spilled ones are never changed in
  // place. Only then do they take effect.
  std::unordered_map<std::uint64_t, Block> prepared;
  std::uint64_t memory_blocks = memory_blocks_;
  std::vector<std::uint64_t> slots;
  try {
    reserve_slots(last - first + 1);
    for (std::uint64_t number = first; number <= last; ++number) {
      const auto old = blocks_.find(number);
      if (old != blocks_.end() && old->second.memory) continue;  // changed in place below
      const std::uint64_t begin = std::max(offset, number * block_bytes);
      const std::uint64_t end = std::min(offset + data.size(), (number + 1) * block_bytes);
      Block& block = prepared[number];
      auto content = take_memory();
      if (end - begin != block_bytes) std::memset(content.get(), 0, block_bytes);
      if (old != blocks_.end() && end - begin != block_bytes) read_block(old->second, 0, {content.get(), block_bytes});
      std::memcpy(content.get() + (begin - number * block_bytes), data.data() + (begin - offset), end - begin);
      if ((memory_blocks + 1) * block_bytes <= options_.memory_bytes_max) {
        block.memory = std::move(content);
        ++memory_blocks;
      } else {
        if (slots.empty()) slots.reserve(static_cast<std::size_t>(last - number + 1));
        block.spill_slot = take_slot();
        slots.push_back(block.spill_slot);
        spill_.write(block.spill_slot * block_bytes, {content.get(), block_bytes});
      }
    }
    if (!prepared.empty()) reserve_blocks(prepared.size());
    set_range(offset, offset + data.size(), false);
  } catch (...) {
    for (const std::uint64_t slot : slots) free_slots_.push_back(slot);
    give_back(more);
    throw;
  }
  for (std::uint64_t number = first; number <= last; ++number) {
    const auto old = blocks_.find(number);
    if (old == blocks_.end() || !old->second.memory) continue;
    const std::uint64_t begin = std::max(offset, number * block_bytes);
    const std::uint64_t end = std::min(offset + data.size(), (number + 1) * block_bytes);
    std::memcpy(old->second.memory.get() + (begin - number * block_bytes), data.data() + (begin - offset), end - begin);
  }
  for (auto& [number, block] : prepared) {
    if (block.memory) ++memory_blocks_;
    const auto old = blocks_.find(number);
    if (old == blocks_.end()) continue;
    release_block(old->second);
    old->second = std::move(block);
  }
  blocks_.merge(prepared);
  settle();
}

void PrivateBytes::zero(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t stop = offset + length;
  if (length == 0 || inside(offset, stop, true)) return;
  const std::uint64_t first = (offset + block_bytes - 1) / block_bytes;
  const std::uint64_t end = stop / block_bytes;
  if (end <= first) {
    static constexpr std::array<std::byte, 2 * block_bytes> zeros{};
    return write(offset, std::span{zeros}.first(length));
  }
  // Blocks that no data range touches any more give their room back.
  const auto within = [&](std::uint64_t number) { return number >= first && number < end; };
  const bool few = end - first <= blocks_.size();
  bool frees = false;
  if (few)
    for (std::uint64_t number = first; number < end && !frees; ++number) frees = blocks_.contains(number);
  else
    frees = std::any_of(blocks_.begin(), blocks_.end(), [&](const auto& block) { return within(block.first); });
  check_range_count("zero", offset, stop, true);
  // One that meets a run becomes a part of it.
  if (!frees && zero_ranges_at(offset, stop) == 0) charge("zero", block_bytes);
  try {
    reserve_slots(0);
    set_range(offset, stop, true);
  } catch (...) {
    settle();
    throw;
  }
  const auto drop = [&](std::unordered_map<std::uint64_t, Block>::iterator found) {
    release_block(found->second);
    return blocks_.erase(found);
  };
  if (few) {
    for (std::uint64_t number = first; number < end; ++number)
      if (const auto found = blocks_.find(number); found != blocks_.end()) drop(found);
  } else {
    for (auto at = blocks_.begin(); at != blocks_.end();) at = within(at->first) ? drop(at) : std::next(at);
  }
  settle();
}

void PrivateBytes::release_block(Block& block) noexcept {
  if (block.memory) {
    --memory_blocks_;
    keep_memory(std::move(block.memory));
  } else {
    free_slots_.push_back(block.spill_slot);  // room was reserved
  }
}

/// Runs of zeros that overlap or adjoin `[begin, end)`.
std::size_t PrivateBytes::zero_ranges_at(std::uint64_t begin, std::uint64_t end) const {
  auto at = ranges_.lower_bound(begin);
  if (at != ranges_.begin() && std::prev(at)->second.end >= begin) --at;
  std::size_t count = 0;
  for (; at != ranges_.end() && at->first <= end; ++at) count += at->second.zero ? 1u : 0u;
  return count;
}

void PrivateBytes::set_range(std::uint64_t begin, std::uint64_t end, bool zero) {
  if (inside(begin, end, zero)) return;
  const std::size_t zeros_before = zero_ranges_at(begin, end);
  place_range(begin, end, zero);
  zero_ranges_ += zero_ranges_at(begin, end) - zeros_before;
}

void PrivateBytes::place_range(std::uint64_t begin, std::uint64_t end, bool zero) {
  // Nodes first: they are what can fail.
  std::map<std::uint64_t, Range> fresh;
  fresh[begin] = {end, zero};
  auto at = ranges_.upper_bound(begin);
  if (at != ranges_.begin()) --at;
  if (at != ranges_.end() && at->first < begin && at->second.end > end) fresh[end] = at->second;
  if (at != ranges_.end() && at->first < begin && at->second.end > begin) at->second.end = begin;
  while (at != ranges_.end() && at->first < end) {
    if (at->first < begin) {
      ++at;
      continue;
    }
    if (at->second.end > end) {
      auto node = ranges_.extract(at);
      node.key() = end;
      ranges_.insert(std::move(node));
      break;
    }
    at = ranges_.erase(at);
  }
  ranges_.merge(fresh);
  auto middle = ranges_.find(begin);
  if (const auto next = std::next(middle);
      next != ranges_.end() && next->first == middle->second.end && next->second.zero == zero) {
    middle->second.end = next->second.end;
    ranges_.erase(next);
  }
  if (middle == ranges_.begin()) return;
  if (const auto previous = std::prev(middle); previous->second.end == begin && previous->second.zero == zero) {
    previous->second.end = middle->second.end;
    ranges_.erase(middle);
  }
}

bool PrivateBytes::covers(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t end = offset + length;
  std::uint64_t covered = offset;
  for (auto at = range_from(offset); at != ranges_.end() && at->first <= covered && covered < end; ++at)
    covered = at->second.end;
  return covered >= end;
}

void PrivateBytes::read_block(const Block& block, std::uint64_t within, std::span<std::byte> buffer) const {
  if (block.memory)
    std::memcpy(buffer.data(), block.memory.get() + within, buffer.size());
  else
    spill_.read(block.spill_slot * block_bytes + within, buffer);
}

void PrivateBytes::read_over(std::uint64_t offset, std::span<std::byte> buffer) const {
  const std::uint64_t stop = offset + buffer.size();
  for (auto range = range_from(offset); range != ranges_.end() && range->first < stop; ++range) {
    std::uint64_t at = std::max(range->first, offset);
    const std::uint64_t end = std::min(range->second.end, stop);
    if (range->second.zero) {
      std::memset(buffer.data() + (at - offset), 0, end - at);
      continue;
    }
    while (at < end) {
      const std::uint64_t within = at % block_bytes;
      const std::uint64_t bytes = std::min(block_bytes - within, end - at);
      read_block(blocks_.at(at / block_bytes), within, buffer.subspan(at - offset, bytes));
      at += bytes;
    }
  }
}

std::vector<std::span<const std::byte>> PrivateBytes::parts(std::span<const LogRange> ranges,
                                                            std::size_t parts_max) const {
  std::vector<std::span<const std::byte>> parts;
  for (const LogRange& range : ranges) {
    const std::uint64_t end = range.offset + range.length;
    for (std::uint64_t at = range.offset; !range.zero && at < end;) {
      const std::uint64_t within = at % block_bytes;
      const std::uint64_t bytes = std::min(block_bytes - within, end - at);
      const std::byte* const memory = blocks_.at(at / block_bytes).memory.get();
      if (memory == nullptr || parts.size() == parts_max) return {};
      parts.emplace_back(memory + within, bytes);
      at += bytes;
    }
  }
  return parts;
}

std::vector<LogRange> PrivateBytes::ranges(std::uint64_t offset, std::uint64_t length) const {
  std::vector<LogRange> found;
  for (auto at = range_from(offset); at != ranges_.end() && at->first - std::min(at->first, offset) < length; ++at)
    found.push_back({at->first, at->second.end - at->first, at->second.zero});
  return found;
}

}  // namespace pageserver::storage
