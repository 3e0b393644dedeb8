// How much of the log is written and read at once. Of the format none of it is a part.
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// The defaults are for disks; a test that wants to see what lies on both sides of each makes them small.
struct LogSizes {
  std::uint64_t one_write_bytes_max = 16ull << 20;  ///< of a record that one call writes; a larger one goes in parts
  std::uint64_t part_bytes = 1ull << 20;            ///< of such a part, and of what is read at once; a multiple of 8
  /// So much data is cheaper to be handed over where it lies than to be copied beside its header.
  std::uint64_t gathered_bytes_min = 8192;
  /// So large a record begins a block of its own always, so that no sync waits until it is written.
  std::uint64_t own_block_bytes_min = 1ull << 20;
};

}  // namespace pageserver::storage
