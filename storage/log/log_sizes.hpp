// How much of the log is written and read at once. None of this is part of the format.
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// The defaults suit disks. Tests make them small, to see both sides of each border.
struct LogSizes {
  std::uint64_t one_write_bytes_max = 16ull << 20;  ///< of a record that one call writes; a larger one goes in parts
  std::uint64_t part_bytes = 1ull << 20;            ///< of such a part, and of what is read at once; a multiple of 8
  /// From this size on, data is written from where it lies; less is copied behind its header first, which is cheaper.
  std::uint64_t gathered_bytes_min = 8192;
  /// From this size on, a record always begins a block of its own, so that no sync waits until it is written.
  std::uint64_t own_block_bytes_min = 1ull << 20;
};

}  // namespace pageserver::storage
