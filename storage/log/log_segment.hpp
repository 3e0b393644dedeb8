// The files of a redo log, its segments, and appending to the last of them. The life of a segment's file:
//
//   created ----------> records are appended -----> a checkpoint has it in the image -----> removed
//                              ^                                  |
//                              | renamed                          v
//                              +---------------------------- a spare file
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_sizes.hpp"

namespace pageserver::storage {

/// One file of the log. It covers the positions `[first_position, end_position)`; the last segment of a log grows.
struct LogSegment {
  File file;
  std::string name;  ///< in the image's folder
  std::uint64_t number = 0;
  std::uint64_t first_position = 0;
  std::uint64_t end_position = 0;
  std::uint64_t salt = 0;
  SegmentLayout layout;
  /// The blocks before this offset were written since the file was made, as this segment or an earlier one; a multiple
  /// of the block size. Used by the thread that appends.
  std::uint64_t blocks_written = 0;
  /// The file is at least this large, unless somebody else cut it. Written by the thread that appends: before it makes
  /// the file smaller, and after it made it larger.
  std::atomic<std::uint64_t> file_bytes{0};
  /// Somebody cut the file, and this was noticed: what it holds can't be told from zeros any more. Stays so.
  std::atomic<bool> cut{false};
  bool marked = false;        ///< its mark says that the image holds everything before it; of the checkpoint lane alone
  bool entry_synced = false;  ///< its directory entry is durable

  std::uint64_t offset_of(std::uint64_t position) const noexcept { return position - first_position; }

  /// Maps the file, for a caller that reads many places of it: read() then makes no system call. Where the file can't
  /// be mapped, nothing changes.
  void map();
  /// The mapped bytes: the file from byte 0 to the end that it had then. Empty where it is not mapped.
  std::span<const std::byte> mapped() const noexcept { return mapped_; }
  /// Fills `into`. Throws as File::read(), and once the file is known to be cut.
  void read(std::uint64_t position, std::span<std::byte> into, const File::Deadline& deadline = {}) const;
  /// To be called before `file` is replaced.
  void unmap() noexcept;

private:
  std::unique_ptr<MappedFile> mapping_;
  std::span<const std::byte> mapped_;
};

/// Looks whether somebody else cut the segment's file, as tools do that empty text logs, and notes it in `cut`. Returns
/// the bytes that the file has; nothing where that can't be asked, and so nothing was learned. Reads nothing of the
/// file.
std::optional<std::uint64_t> look_for_cut(LogSegment& segment) noexcept;
/// What to say of a segment whose file was cut; `action` is what failed for it.
MemoryError cut_error(const LogSegment& segment, std::string_view action);

/// Writes the mark: everything before this segment is in the synced image, so that it may be the oldest one of the log.
/// Syncs it. Does nothing for a segment that has its mark.
void mark_segment(LogSegment& segment);

using LogSegmentRef = std::shared_ptr<LogSegment>;

/// The segment that holds `position`, of a range of LogSegmentRef that adjoin, in rising order.
template <class Segments>
const LogSegmentRef& segment_at(const Segments& segments, std::uint64_t position) {
  const auto after =
      std::upper_bound(std::begin(segments), std::end(segments), position,
                       [](std::uint64_t at, const LogSegmentRef& segment) { return at < segment->first_position; });
  assert(after != std::begin(segments));
  return *std::prev(after);
}

/// A record to be appended, and where its data comes from.
struct LogAppend {
  std::uint64_t version = 0;
  std::uint64_t pages = 0;
  std::uint64_t synced_position = 0;
  std::span<const LogRange> ranges;
  std::span<const std::byte> entry;  ///< the resume entry of the session that publishes; empty: none
  /// The record begins at a block of its own. A sync of the record before may have begun, and a write to the same block
  /// could tear what that sync makes durable.
  bool new_block = false;
  /// Supplies the data of all non-zero ranges as one stream. Called with rising, adjoining offsets.
  std::function<void(std::uint64_t data_offset, std::span<std::byte> buffer)> data;
  /// The same stream in parts that lie in memory, so that it need not be copied. Empty: `data` is asked.
  std::span<const std::span<const std::byte>> parts;
  /// Called once the log has room for the record, before anything of it is written. When it throws, nothing is
  /// appended.
  std::function<void()> before_write;
};

/// The disk has no room for the record, or the process no descriptor for another file. There may be some once a
/// checkpoint has removed files of the log.
class NoRoomError : public MemoryError {
public:
  explicit NoRoomError(const MemoryError& reason) : MemoryError{reason} {}
};

class ImageNotes;

/// Appends records, one caller at a time. Its callers decide what is synced and what is visible.
class LogWriter {
public:
  struct Options {
    std::string image_name;
    std::uint64_t salt = 0;
    std::uint64_t segment_bytes = 0;
    std::size_t files_max = 0;  ///< of the log and spare ones together: above it no further spare one is kept
    std::uint32_t file_mode = 0640;
    ImageIdentity image;
    LogSizes sizes;
    /// The files lie on a disk of this machine: blocks that are new cost a sync more, and others may cut a file.
    bool on_a_disk = true;
    ImageNotes* notes = nullptr;  ///< outlives the writer; null: its segments get no notes
  };
  struct Appended {
    std::uint64_t data_position = 0;  ///< of the first byte of data; the ranges' data adjoins
    std::uint64_t end_position = 0;   ///< of the log after this record
    LogSegmentRef new_segment;        ///< the segment made for this record, or null
  };

  LogWriter(Folder folder, Options options);

  /// Writes the record at the log's end. When it throws, nothing is appended: a part that was written is a torn tail
  /// for a recovery, and the next record overwrites it. Where the disk is nearly full, spare files are removed, and a
  /// new segment is smaller, down to what the record needs. Throws NoRoomError when not even that fits. `image_bytes`
  /// is the image file's size, for the header of a new segment.
  Appended append(const LogAppend& record, std::uint64_t image_bytes, std::uint64_t previous_version,
                  std::uint64_t previous_pages);

  /// Makes a new segment without a record, which takes next to no room, so that all others may be removed. Otherwise as
  /// append(); the result has no data.
  Appended begin_segment(std::uint64_t synced_position, std::uint64_t image_bytes, std::uint64_t version,
                         std::uint64_t pages);
  /// Removes the spare files: true when there were some.
  bool give_back_spares() noexcept;

  /// Whether the file of a segment that leaves the log, which has `segments` others, is to be kept as a spare one: to
  /// overwrite blocks takes less than half of the time that new ones take. From any thread, like the next two.
  bool wants(const LogSegment& segment, std::size_t segments);
  /// Takes over a segment for which wants() was true, and whose file is renamed to spare_name(). It is used again once
  /// nobody else refers to it: a reader that still has it would read bytes of the new segment.
  void keep_spare(LogSegmentRef segment) noexcept;
  /// Closes the spare files and removes them. Throws the first error after it tried all; files that are left are tried
  /// again by the next call.
  void drop_spares();
  /// Durably removes the rest of a segment that could not be made. To be called when nothing is appended any more,
  /// before other files of the log are removed: left alone, it would look like a log whose beginning is missing.
  void drop_failed_segment();

  std::uint64_t end_position() const noexcept { return end_position_; }
  /// The resume entry of the last record; none before the first.
  const EntryBytes& last_entry() const noexcept { return last_entry_; }

private:
  /// A byte of a segment's file that is not zero.
  struct LastByte {
    std::uint64_t offset = 0;
    std::byte value{0};

    /// What was written behind it may have a later one.
    void note(std::uint64_t at, std::span<const std::byte> bytes) noexcept;
  };
  static constexpr LastByte header_byte{log_format::segment_magic_at,
                                        static_cast<std::byte>(log_format::segment_magic & 0xffU)};

  /// Throws where the file was cut while it was made larger: what is behind the cut and before the new bytes are zeros
  /// then, and its size no longer tells. `before` is the last byte of what was there.
  static void check_after_growth(LogSegment& segment, LastByte before);
  /// Reserves `bytes` for it, or less where the disk is full, but at least `bytes_min`. Sets `bytes` to what it has.
  LogSegmentRef make_segment(const SegmentHeader& header, std::uint64_t bytes_min, std::uint64_t& bytes);
  /// A new segment gets at least `new_segment_bytes`.
  Appended try_to_append(const LogAppend& record, std::uint64_t image_bytes, std::uint64_t previous_version,
                         std::uint64_t previous_pages, std::uint64_t new_segment_bytes);
  SegmentHeader next_header(std::uint64_t synced_position, std::uint64_t image_bytes, std::uint64_t version,
                            std::uint64_t pages) const;
  void reserve_segment(const File& file, std::uint64_t bytes_min, std::uint64_t& bytes);
  /// Cuts off what the last segment has reserved behind its end. True when there was something.
  bool give_back_tail() noexcept;
  void go_on_in(LogSegmentRef segment, std::uint64_t bytes) noexcept;
  File create_segment(const std::string& name);
  /// Writes zeros ahead of a small record of `bytes` at `offset`, so that it meets blocks that were written before. The
  /// first write to a reserved block changes the file's metadata, and a sync of that takes half as long again.
  void write_ahead(LogSegment& segment, std::uint64_t segment_bytes, std::uint64_t offset, std::uint64_t bytes);
  /// Gives `segment` a spare file, renamed to `name`. False when there is none, or readers still refer to all of them.
  bool take_spare(LogSegment& segment);
  /// Takes a spare segment out of the list; null when there is none.
  LogSegmentRef last_spare() noexcept;
  /// Removes a file that is not needed or could not be finished. False when it is still there.
  bool give_up(const std::string& name) noexcept;
  /// Each returns the last byte of the record that is not zero.
  LastByte write_record(LogSegment& segment, const LogAppend& record, RecordHeader& header);
  /// `start`: the record's header and table.
  LastByte write_gathered(const LogSegment& segment, const LogAppend& record, RecordHeader& header,
                          std::span<std::byte> start);
  LastByte write_in_parts(LogSegment& segment, const LogAppend& record, RecordHeader& header,
                          std::vector<std::byte>& start, std::uint64_t table_bytes);

  const Folder folder_;
  Options options_;
  LogSegmentRef current_;
  LastByte current_last_;            ///< of what `current_` holds
  std::uint64_t current_bytes_ = 0;  ///< the size that `current_` has reserved: its records end there at the latest
  /// The segment after `current_` could not be made, and its removal is not durable. Nothing may be appended to
  /// `current_` any more: a recovery that finds the failed segment would go on there, and miss what was appended to
  /// `current_`.
  bool segment_failed_ = false;
  std::atomic<bool> gave_up_{false};  ///< a file was removed and the folder not synced since; from any thread
  /// The failed segment's file could not be removed. The next segment replaces it.
  bool segment_left_ = false;
  /// A part of a failed record could not be cut off. A recovery could take it for a record if the next record began at
  /// a new block behind it.
  bool torn_rest_ = false;
  std::uint64_t end_position_ = 0;
  std::uint64_t next_number_ = 1;
  EntryBytes last_entry_;
  std::vector<std::byte> buffer_;

  Mutex spares_mutex_;
  // Their files keep their old paths, which readers that still refer to them may read.
  std::vector<LogSegmentRef> spares_ PAGESERVER_GUARDED_BY(spares_mutex_);
};

}  // namespace pageserver::storage
