#include "storage/engine/range_locator.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace pageserver::storage {

std::vector<LoggedRange> RangeLocator::locate(std::span<const LogRange> ranges, bool keep_small, const Fill& fill) {
  std::vector<LoggedRange> logged = std::move(spare_);
  logged.reserve(ranges.size());
  const auto is_kept = [&](const LogRange& range) {
    return keep_small && !range.zero && range.length <= small_range_bytes_max;
  };
  // Small ranges share blocks of this size; a block lives as long as any of its ranges.
  constexpr std::uint64_t block_bytes = 4096;
  std::shared_ptr<std::byte[]> block;
  std::uint64_t block_left = 0, block_used = 0;
  std::uint64_t kept_bytes = 0;
  for (const LogRange& range : ranges) kept_bytes += is_kept(range) ? range.length : 0;
  std::uint64_t data_offset = 0;
  for (const LogRange& range : ranges) {
    logged.push_back({range, range.zero ? no_position : data_offset, nullptr});
    if (range.zero) continue;
    if (is_kept(range)) {
      if (block_left < range.length) {
        block_left = std::clamp(kept_bytes, range.length, block_bytes);
        block_used = 0;
        block = std::make_shared_for_overwrite<std::byte[]>(block_left);
      }
      std::byte* const bytes = block.get() + block_used;
      fill(data_offset, {bytes, range.length});
      logged.back().memory = std::shared_ptr<const std::byte[]>{block, bytes};
      block_left -= range.length;
      block_used += range.length;
      kept_bytes -= range.length;
    }
    data_offset += range.length;
  }
  return logged;
}

void RangeLocator::take_back(std::vector<LoggedRange>& logged) noexcept {
  constexpr std::size_t kept_ranges_max = 64;
  if (logged.capacity() > kept_ranges_max) return;
  logged.clear();
  spare_.swap(logged);
}

}  // namespace pageserver::storage
