// The files of a redo log, and appending to the last of them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_sizes.hpp"

namespace pageserver::storage {

/// One file of the log. What it covers is `[first_position, end_position)`; the last segment of a log grows.
struct LogSegment {
  File file;
  std::uint64_t number = 0;
  std::uint64_t first_position = 0;
  std::uint64_t end_position = 0;
  std::uint64_t salt = 0;
  SegmentLayout layout;
  /// The blocks before this offset were written, whatever is in them, in this file's life as a log; a multiple of the
  /// block size. Of whoever appends.
  std::uint64_t blocks_written = 0;
  bool marked = false;        ///< it says that the image holds everything before it; of the checkpoint lane alone
  bool entry_synced = false;  ///< its directory entry is durable

  std::uint64_t offset_of(std::uint64_t position) const noexcept { return position - first_position; }

  /// For whoever reads much of the file from here and there: reads cost no system call then. Where it can't be mapped
  /// nothing changes.
  void map();
  /// The file from its byte 0 on, as long as it was when it was mapped; empty unless it is.
  std::span<const std::byte> mapped() const noexcept { return mapped_; }
  /// Fills `into`.
  void read(std::uint64_t position, std::span<std::byte> into) const;
  /// Due before `file` becomes another one.
  void unmap() noexcept;

private:
  std::unique_ptr<MappedFile> mapping_;
  std::span<const std::byte> mapped_;
};

/// Notes in the segment that everything before it is in the synced image, so that it can be the oldest one, and syncs
/// that. Done once for each segment.
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

/// A record to be appended: what it says, and where its data comes from.
struct LogAppend {
  std::uint64_t version = 0;
  std::uint64_t pages = 0;
  std::uint64_t synced_position = 0;
  std::span<const LogRange> ranges;
  /// The record begins at a block of its own: a sync of what is before it may have begun, and a write to the same block
  /// could tear what that sync makes durable.
  bool new_block = false;
  /// Supplies the data of all non-zero ranges as one stream: called with rising, adjoining offsets into it.
  std::function<void(std::uint64_t data_offset, std::span<std::byte> buffer)> data;
  /// The same stream where it lies in memory, so that it need not be copied; empty: ask `data`.
  std::span<const std::span<const std::byte>> parts;
  /// Called once the log has room for the record, before anything of it is written. What it throws refuses the record.
  std::function<void()> before_write;
};

/// The disk or the system has no room for the record, in bytes or in open files: there may be some once others of the
/// log's files are gone.
class NoRoomError : public MemoryError {
public:
  explicit NoRoomError(const MemoryError& reason) : MemoryError{reason} {}
};

class ImageNotes;

/// Appends records, one caller at a time. It decides nothing about durability or visibility.
class LogWriter {
public:
  struct Options {
    std::string image_name;
    std::uint64_t salt = 0;
    std::uint64_t segment_bytes = 0;
    std::size_t files_max = 0;  ///< spare ones are kept while the log has no more files with them
    std::uint32_t file_mode = 0640;
    ImageIdentity image;
    LogSizes sizes;
    ImageNotes* notes = nullptr;  ///< outlives the writer; null: what it makes has none
  };
  struct Appended {
    std::uint64_t data_position = 0;  ///< of the first byte of data; the ranges' data adjoins
    std::uint64_t end_position = 0;   ///< of the log, from now on
    LogSegmentRef new_segment;        ///< the segment made for this record, or null
  };

  LogWriter(Folder folder, Options options);

  /// Writes the record at the log's end. When it throws, nothing was appended: what was written of it is overwritten
  /// by the next record, and a reader of the log takes it for a torn tail. A new segment is as large as the disk has
  /// room for, down to what the record needs; spare files go before that. Throws NoRoomError when not even that fits.
  /// `image_bytes` is the image file's size, for the header of a new segment.
  Appended append(const LogAppend& record, std::uint64_t image_bytes, std::uint64_t previous_version,
                  std::uint64_t previous_pages);

  /// Goes on in a new segment that has no record yet and takes next to no room, so that all others may go. As append()
  /// otherwise; what is returned has no data.
  Appended begin_segment(std::uint64_t synced_position, std::uint64_t image_bytes, std::uint64_t version,
                         std::uint64_t pages);
  /// Removes the spare files: true when there were some.
  bool give_back_spares() noexcept;

  /// Whether a segment that leaves the log, which has `segments` others, may be made a later one: to write over a
  /// file's blocks takes less than half of the time that new ones take. From any thread, like the next two.
  bool wants(const LogSegment& segment, std::size_t segments);
  /// Takes over a segment that wants() said yes to, whose file has the name spare_name() and is no part of the log any
  /// more. It is used once nobody else refers to it, so that nobody reads from it what comes later.
  void keep_spare(LogSegmentRef segment) noexcept;
  /// Closes the spare files, and removes them. What can't be removed is kept for the next call, which this one throws.
  void drop_spares();
  /// Removes for good what is left of a segment that could not be made. Before the log loses anything else, and when
  /// nothing is appended any more: alone it would look like a log whose beginning is missing.
  void drop_failed_segment();

  std::uint64_t end_position() const noexcept { return end_position_; }

private:
  /// `bytes` is what it is to have, or less, but not less than `bytes_min`: then it says what it has.
  LogSegmentRef make_segment(const SegmentHeader& header, std::uint64_t bytes_min, std::uint64_t& bytes);
  /// `new_segment_bytes`: what a new segment is to have at least.
  Appended try_to_append(const LogAppend& record, std::uint64_t image_bytes, std::uint64_t previous_version,
                         std::uint64_t previous_pages, std::uint64_t new_segment_bytes);
  SegmentHeader next_header(std::uint64_t synced_position, std::uint64_t image_bytes, std::uint64_t version,
                            std::uint64_t pages) const;
  void reserve_segment(const File& file, std::uint64_t bytes_min, std::uint64_t& bytes);
  /// What the last segment was made larger for than it has: true when there was something.
  bool give_back_tail() noexcept;
  void go_on_in(LogSegmentRef segment, std::uint64_t bytes) noexcept;
  File create_segment(const std::string& name);
  /// Before a record of `bytes` at `offset`: sees to it that small records meet blocks that were written before. The
  /// first write to a reserved block makes the sync behind it one of the file's own description too, which takes half
  /// as long again.
  void write_ahead(LogSegment& segment, std::uint64_t segment_bytes, std::uint64_t offset, std::uint64_t bytes);
  /// Gives `segment` a spare file under its new name. False when there is none that nobody refers to.
  bool take_spare(LogSegment& segment, const std::string& name);
  /// Takes one out of the list; null when there is none.
  LogSegmentRef last_spare() noexcept;
  /// Removes a file that could not be made what it was to be; false when it is still there.
  bool give_up(const std::string& name) noexcept;
  void write_record(const LogSegment& segment, const LogAppend& record, RecordHeader& header);
  /// `start`: the record's header and table.
  void write_gathered(const LogSegment& segment, const LogAppend& record, RecordHeader& header,
                      std::span<std::byte> start);
  void write_in_parts(const LogSegment& segment, const LogAppend& record, RecordHeader& header,
                      std::vector<std::byte>& part, std::uint64_t table_bytes);

  const Folder folder_;
  Options options_;
  LogSegmentRef current_;
  std::uint64_t current_bytes_ = 0;  ///< records of `current_` end there at the latest
  /// The segment after `current_` could not be made, and its removal may not last. Nothing may be appended to
  /// `current_` any more: a recovery that finds that segment goes on there and never sees what stands behind its
  /// beginning.
  bool segment_failed_ = false;
  std::atomic<bool> gave_up_{false};  ///< a file was removed, and that may not last; from any thread
  /// The file of that segment is still there: it could not be removed. The next one is made in its place.
  bool segment_left_ = false;
  /// What was written of a record that failed could not be cut off. It could be taken for a record, if the next one
  /// began at a new block behind it.
  bool torn_rest_ = false;
  std::uint64_t end_position_ = 0;
  std::uint64_t next_number_ = 1;
  std::vector<std::byte> buffer_;

  Mutex spares_mutex_;
  // Their files still say the names that they had: others may read them.
  std::vector<LogSegmentRef> spares_ PAGESERVER_GUARDED_BY(spares_mutex_);
};

}  // namespace pageserver::storage
