#include "client/session/page_ranges.hpp"

#include <algorithm>
#include <cstring>

#include "base/bytes.hpp"

namespace pageserver::client {
namespace {

// About a write's frame header, its offset and what the daemon logs beside its bytes.
constexpr std::size_t gap_min = 64;
// Equal bytes are passed over in blocks of this size.
constexpr std::size_t block = 256;

void close_gaps(std::vector<PageRange>& ranges, std::size_t gap) {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    auto& last = ranges[kept];
    if (ranges[i].begin - (last.begin + last.length) < gap)
      last.length = ranges[i].begin + ranges[i].length - last.begin;
    else
      ranges[++kept] = ranges[i];
  }
  if (!ranges.empty()) ranges.resize(kept + 1);
}

}  // namespace

std::vector<PageRange> differing_ranges(std::span<const std::byte> now, std::span<const std::byte> before,
                                        std::size_t ranges_max) {
  std::vector<PageRange> ranges;
  const auto differs = [&](std::size_t at) { return now[at] != (before.empty() ? std::byte{0} : before[at]); };
  for (std::size_t start = 0; start < now.size(); start += block) {
    const auto part = now.subspan(start, std::min(block, now.size() - start));
    const bool same =
        before.empty() ? base::all_zero(part) : std::memcmp(part.data(), before.data() + start, part.size()) == 0;
    if (same) continue;
    for (std::size_t at = start; at < start + part.size(); ++at) {
      if (!differs(at)) continue;
      if (!ranges.empty() && at - (ranges.back().begin + ranges.back().length) < gap_min)
        ranges.back().length = at + 1 - ranges.back().begin;
      else
        ranges.push_back({at, 1});
    }
  }
  for (std::size_t gap = 2 * gap_min; ranges.size() > ranges_max; gap *= 2) close_gaps(ranges, gap);
  return ranges;
}

}  // namespace pageserver::client
