// A place in the sequence of publishes.
#pragma once

#include <cstdint>

namespace pageserver::storage {

struct LogPoint {
  std::uint64_t position = 0;  ///< end of the log
  std::uint64_t version = 0;
  /// The position plus all memory that the index ever took for what was published until then. Bounds are on differences
  /// of costs, so that they count log and memory. 0 where it is not known.
  std::uint64_t cost = 0;
};

}  // namespace pageserver::storage
