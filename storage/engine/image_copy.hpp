// Copies pages from the log into the image, for checkpoints and recoveries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/io_memory.hpp"
#include "storage/file/file_io.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// One page's pieces of one version, in rising order.
struct PageCopy {
  std::uint64_t page = 0;
  std::uint64_t pages = 1;  ///< adjoining pages with the same pieces; more than one only where they are all zeros
  std::vector<Piece> pieces;
  bool may_punch = false;  ///< pages of zeros may become a hole instead of being written
};

/// True when the pieces make the whole page zeros.
bool all_zero(const PageCopy& copy) noexcept;

struct PagesCopied {
  std::uint64_t pages = 0;
  bool punched = false;  ///< the pages are a hole now
};

/// Writes the pieces into the image. Adjoining pieces are written by one call; pieces with small gaps, too, together
/// with the image's bytes in the gaps, since a call costs more than those bytes. Where several pages can't become a
/// hole, it writes the first of them only. Throws MemoryError: any part may be written then. `scratch` is reused from
/// call to call.
PagesCopied copy_pages(const PageCopy& copy, std::span<const LogSegmentRef> segments, const File& image,
                       base::IoBytes& scratch);

/// Removes a log's files from the oldest to the newest. Each removal is durable before the next, so that a crash in the
/// middle leaves a log that means the same.
void remove_segments(const Folder& folder, std::span<const LogSegmentRef> segments);

}  // namespace pageserver::storage
