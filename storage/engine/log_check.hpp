// How far a log is on the disk, found out while somebody else reads it from memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "storage/engine/background.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// Syncs files of a log and reads them back from the disk (disk_prefix()). A recovery has to read its log twice, from
/// memory for what it says and from the disk for what will last: with a lane of its own the second waits for the disk
/// while the first has the processor. What the lane has not come to is done by who asks.
class LogCheck {
public:
  /// `folder` outlives this.
  explicit LogCheck(const Folder& folder);
  LogCheck(const LogCheck&) = delete;
  LogCheck& operator=(const LogCheck&) = delete;
  /// Waits for what the lane is in: the sync of one file, or a part of it. Nothing else is begun.
  ~LogCheck();

  /// Begins with these files, in this order; null: nothing is done before has() asks. Their `file` must stay the same
  /// until has() has answered for them. Throws std::bad_alloc; then nothing has begun.
  void begin(const std::vector<LogSegmentRef>& segments, Background* lane);

  /// Nobody will ask for any other: those are let go, and closed unless somebody else has them.
  void keep_only(const std::vector<LogSegmentRef>& segments);

  /// Whether the disk has the bytes of the segment's file up to `until`, after a sync. False also where nobody can
  /// tell.
  bool has(const LogSegment& segment, std::uint64_t until);

private:
  struct State;
  const std::shared_ptr<State> state_;  // a lane may come to its task when this is gone
};

}  // namespace pageserver::storage
