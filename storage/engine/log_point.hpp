// A place in the sequence of publishes.
#pragma once

#include <cstdint>

namespace pageserver::storage {

struct LogPoint {
  std::uint64_t position = 0;  ///< end of the log
  std::uint64_t version = 0;
  /// The position, and all memory that the index ever took for what was published until then: what is bounded is a
  /// difference of these. 0 where only the rest is known.
  std::uint64_t cost = 0;
};

}  // namespace pageserver::storage
