// Reading a redo log that was left behind: which records count, where the tail begins, and whether it is damaged.
//
//   header | record | record | record |//// torn or missing | record that does not count |
//                                     ^ the cut: `end_position`
//
// A scan reads record after record from the oldest segment on. Each must adjoin the one before and have whole
// checksums; the first that does not is the cut. Records behind the cut don't count. But they, and the headers, state
// up to where the log was synced before they were written: if that is past the cut, the disk lost synced bytes, and the
// log is damaged. If it is not, the rest is the torn tail that a kill or a loss of power leaves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/error.hpp>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_segment.hpp"
#include "storage/log/log_sizes.hpp"

namespace pageserver::storage {

/// A record that counts.
struct ScannedRecord {
  RecordHeader header;
  std::vector<LogRange> ranges;
  std::uint64_t data_position = 0;
  std::span<const std::byte> entry;  ///< its resume entry, while it is handed out
};

struct LogScan {
  std::vector<LogSegmentRef> segments;  ///< those that count, adjoining, oldest first; the last one ends at the cut
  std::vector<std::string> beyond;      ///< names of files after the cut, oldest first
  std::vector<std::string> reused;    ///< those of them that a kill kept from becoming a segment: they hold no records
  std::uint64_t end_position = 0;     ///< of the last record that counts
  std::uint64_t synced_position = 0;  ///< the highest that any record or header states
  std::uint64_t records = 0;
  std::uint64_t version = 0;
  std::uint64_t pages = 0;
  std::uint64_t image_bytes_min = 0;  ///< the image's size when the oldest segment was made
  std::uint64_t bytes = 0;            ///< of all the files
  std::uint64_t tail_bytes = 0;       ///< after the cut
  std::uint64_t dropped_records = 0;  ///< whole records after the cut
  bool dropped_in_last = false;       ///< some of them are in the last of `segments`
  EntryBytes entry;                   ///< of the last record that counts; `entry_known`: there was such a record
  bool entry_known = false;
  std::optional<SegmentHeader> first;  ///< nothing when no segment has a header
  std::optional<ImageNote> note;       ///< the newest of all files; nothing when `note_lost`
  bool note_lost = false;  ///< the newest file has none, although its format has one: a loss of power took it
  std::optional<ImageNote> any_note;   ///< the newest note of any file, also where `note_lost`
  std::optional<MemoryError> problem;  ///< why this log can't be replayed
};

/// Reads the log of the image `image_name`, whose files are `files` (see list_siblings()), and hands each record that
/// counts to `apply`, in order. Reports damage in `problem`; throws errors of the file system. Opens the files with
/// `open_flags` (O_RDWR, O_RDONLY). `found`, unless it is empty, is called before any record is read, with the segments
/// that no later header states to be synced.
LogScan scan_log(const Folder& folder, const std::string& image_name, std::span<const std::string> files,
                 int open_flags, const std::function<void(const ScannedRecord&)>& apply, const LogSizes& sizes = {},
                 const std::function<void(const std::vector<LogSegmentRef>&)>& found = {});

}  // namespace pageserver::storage
