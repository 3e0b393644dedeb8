// Copying pages from the log into the image: what checkpoints and recovery do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "storage/file/file_io.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// One page's pieces of one version, in rising order.
struct PageCopy {
  std::uint64_t page = 0;
  std::uint64_t pages = 1;  ///< so many that are the same; more than one only where they are all zeros
  std::vector<Piece> pieces;
  bool may_punch = false;  ///< a page of zeros may become a hole instead of being written
};

/// True when the page is nothing but zeros.
bool all_zero(const PageCopy& copy) noexcept;

struct PagesCopied {
  std::uint64_t pages = 0;
  bool punched = false;  ///< they are a hole now
};

/// Writes the pieces into the image, adjoining ones together; many that lie near to each other with what the image has
/// between them, since each call costs more than the bytes. Where no hole can be made of several pages it writes the
/// first of them only. Throws MemoryError; then any part may have been written. `scratch` is reused from call to call.
PagesCopied copy_pages(const PageCopy& copy, std::span<const LogSegmentRef> segments, const File& image,
                       std::vector<std::byte>& scratch);

/// Removes a log's files from the oldest to the newest, the removal of each durable before the next, so that a crash in
/// the middle leaves a log that means the same.
void remove_segments(const Folder& folder, std::span<const LogSegmentRef> segments);

}  // namespace pageserver::storage
