// Says where in the log the ranges of a record are, for the index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "storage/engine/published.hpp"
#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// Used by one publish at a time.
class RangeLocator {
public:
  /// Supplies the data of all ranges that are not zeros as one stream, at rising offsets into it.
  using Fill = std::function<void(std::uint64_t data_offset, std::span<std::byte> buffer)>;
  /// Ranges of at most this size can keep their bytes in memory, so that a read of a page with many small changes does
  /// not make a call for each.
  static constexpr std::uint64_t small_range_bytes_max = 512;

  /// Makes the list before the append, since nothing may fail after it. Positions are relative to the record's data.
  std::vector<LoggedRange> locate(std::span<const LogRange> ranges, bool keep_small, const Fill& fill);
  /// The memory of a short list serves the next publish; one that is long stays as it is.
  void take_back(std::vector<LoggedRange>& logged) noexcept;

private:
  std::vector<LoggedRange> spare_;  // empty: memory for the next list
};

}  // namespace pageserver::storage
