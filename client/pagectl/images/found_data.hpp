// An answer to the question where an image has data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <pageserver/session.hpp>

namespace pageserver::pagectl {

/// So many ranges are described at once, as the daemon does it: a fragmented image costs bounded memory.
inline constexpr std::size_t found_ranges_max = 4096;

struct FoundData {
  std::vector<ByteRange> ranges;  ///< may hold something other than zeros; in rising order, not overlapping
  /// Up to here all else is zeros, in bytes: greater than what was asked from, unless nothing was asked for.
  std::uint64_t described_until = 0;
};

}  // namespace pageserver::pagectl
