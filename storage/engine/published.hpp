// The published state: everything that a read looks at to find its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/engine/recent_writes.hpp"
#include "storage/engine/session_state.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// A range that is in the log and not yet in the index.
struct LoggedRange {
  LogRange range;
  std::uint64_t position;
  std::shared_ptr<const std::byte[]> memory;
};

/// Changed under the engine's mutex and with the read gate closed, so that either is enough to look at it.
struct Published {
  /// The newest version, when memory ran out while it was entered into the index: a part of it is there.
  struct Unfinished {
    SessionRef state;
    std::vector<LoggedRange> ranges;
  };

  explicit Published(LogIndex::Held held) : index{std::move(held)} {}

  bool closed = false;
  std::uint64_t version = 1;
  std::uint64_t pages = 0;
  LogIndex index;
  std::optional<Unfinished> unfinished;      ///< while it has a value, its publish is under way
  RecentWrites recent;                       ///< what is known of versions that left the index, too
  std::vector<LogSegmentRef> segments;       ///< has room for one more while a publish is under way
  std::uint64_t image_bytes = 0;             ///< of the image file
  const std::byte* image_address = nullptr;  ///< of `image_bytes` bytes; null: not mapped
};

}  // namespace pageserver::storage
