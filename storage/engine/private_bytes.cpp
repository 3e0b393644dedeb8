#include "storage/engine/private_bytes.hpp"

#include <array>
#include <cstring>
#include <utility>

#include "storage/file/mutation.hpp"

namespace pageserver::storage {

PrivateBytes::PrivateBytes(Options options) : options_{std::move(options)} {}

PrivateBytes::~PrivateBytes() { clear(); }

void PrivateBytes::clear() noexcept {
  if (!mutated(Mutation::keep_private_charge)) budget_.give_back(budget_.charged());
  blocks_.clear();
  ranges_.clear();
  memory_.set(0);
}

/// Gives back what was charged for the worst case, or is not there any more.
void PrivateBytes::give_back_unused() noexcept {
  budget_.keep((blocks_.count() + ranges_.zero_count()) * block_bytes);
  memory_.set(blocks_.count() * block_memory_bytes + ranges_.count() * range_memory_bytes);
}

void PrivateBytes::check_memory(std::string_view action) const {
  const base::MemoryShare* const share = options_.memory_share;
  if (share == nullptr || !share->is_exceeded()) return;
  throw MemoryError{Errc::limit_exceeded, std::string{action} + ": the private bytes of all sessions take " +
                                              share->text() + "; " + options_.remedy + ", or raise that limit"};
}

void PrivateBytes::check_range_count(std::string_view action, std::uint64_t begin, std::uint64_t end, bool zero) const {
  constexpr std::uint64_t more_max = 2;  // a range in the middle of another one makes three of it
  const std::uint64_t now = ranges_.count();
  if (now + more_max <= options_.ranges_max || mutated(Mutation::skip_range_bound)) return;
  const std::uint64_t count = ranges_.count_after(begin, end, zero);
  if (count <= options_.ranges_max || count <= now) return;
  throw MemoryError{Errc::limit_exceeded, std::string{action} + " offset=" + std::to_string(begin) +
                                              " length=" + std::to_string(end - begin) + " beside " +
                                              std::to_string(now) + " private ranges apart from it exceeds " +
                                              options_.ranges_max_name + "=" + std::to_string(options_.ranges_max) +
                                              "; " + options_.remedy + ", or raise that limit"};
}

void PrivateBytes::fill_block(std::uint64_t number) {
  const std::uint64_t begin = number * block_bytes;
  const bool crowded =
      ranges_.count() * range_memory_bytes >= options_.memory_bytes_max || ranges_.count() >= options_.ranges_max / 2;
  const std::size_t count_max = crowded ? 1 : ranges_in_block_max;
  if (ranges_.count_at(begin, begin + block_bytes, count_max) < count_max) return;
  if (count_max == 1 && covers(begin, block_bytes)) return;
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
  const std::uint64_t end = offset + data.size();
  std::uint64_t new_blocks = 0;
  for (std::uint64_t number = offset / block_bytes; number <= (end - 1) / block_bytes; ++number)
    new_blocks += blocks_.contains(number) ? 0u : 1u;
  check_range_count("write", offset, end, false);
  if (new_blocks != 0 || !ranges_.inside(offset, end, false)) check_memory("write");
  // A write in the middle of a run of zeros makes two runs of it.
  if (ranges_.splits_zeros(offset, end)) ++new_blocks;
  budget_.charge("write", new_blocks * block_bytes);
  try {
    PrivateBlocks::Prepared prepared{blocks_, offset, data};
    ranges_.set(offset, end, false);
    blocks_.apply(prepared);
  } catch (...) {
    budget_.give_back(new_blocks * block_bytes);
    throw;
  }
  give_back_unused();
}

void PrivateBytes::zero(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t stop = offset + length;
  if (length == 0 || ranges_.inside(offset, stop, true)) return;
  const std::uint64_t first = (offset + block_bytes - 1) / block_bytes;
  const std::uint64_t end = stop / block_bytes;
  if (end <= first) {
    static constexpr std::array<std::byte, 2 * block_bytes> zeros{};
    return write(offset, std::span{zeros}.first(length));
  }
  // Blocks that no range of data touches any more are dropped.
  const bool frees = blocks_.any(first, end);
  check_range_count("zero", offset, stop, true);
  if (!frees && ranges_.zeros_at(offset, stop) == 0) check_memory("zero");
  // Zeros that meet a run of zeros become a part of it.
  if (!frees && ranges_.zeros_at(offset, stop) == 0) budget_.charge("zero", block_bytes);
  try {
    blocks_.prepare_drop();
    ranges_.set(offset, stop, true);
  } catch (...) {
    give_back_unused();
    throw;
  }
  blocks_.drop(first, end);
  give_back_unused();
}

void PrivateBytes::read_over(std::uint64_t offset, std::span<std::byte> buffer) const {
  ranges_.visit(offset, offset + buffer.size(), [&](std::uint64_t begin, std::uint64_t end, bool zero) {
    const std::span<std::byte> into = buffer.subspan(begin - offset, end - begin);
    if (zero)
      std::memset(into.data(), 0, into.size());
    else
      blocks_.read(begin, into);
  });
}

std::vector<std::span<const std::byte>> PrivateBytes::parts(std::span<const LogRange> ranges,
                                                            std::size_t parts_max) const {
  std::vector<std::span<const std::byte>> parts;
  for (const LogRange& range : ranges)
    if (!range.zero && !blocks_.add_parts(range.offset, range.length, parts_max, parts)) return {};
  return parts;
}

}  // namespace pageserver::storage
