// What a log knows of its image file: the time and size that our last change left it with. So an image that was put
// back from a copy, in the same place and with the same inode, is told from the one that the log was written for.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "storage/file/file_io.hpp"
#include "storage/file/file_system.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// How long ahead a note says that the image may change, and how much of that has to be left when a change begins. A
/// change takes its time from the system's clock while it runs; so long it may take to begin. All in nanoseconds.
inline constexpr std::int64_t note_lease_ns = 5'000'000'000;
inline constexpr std::int64_t note_rest_ns = 4'000'000'000;
/// In another run of the system the note may be older than the image's time: what was written last may be lost.
inline constexpr std::int64_t note_lost_ns = 3'600'000'000'000;
/// By so much a clock may be wrong when a machine starts.
inline constexpr std::int64_t boot_slack_ns = 10'000'000'000;

/// Nothing when image and log belong together as far as times tell; else what speaks against it, for people: the end of
/// "the log was written for an image with ...". Looks at size and modification time alone: a mode, an owner or another
/// name may change at any time and change no byte.
std::optional<std::string> note_contradicts(const ImageNote& note, const FileStatus& image, const Boot& boot);

/// "2026-11-28 04:01:02.123456789 UTC".
std::string time_text(std::int64_t ns);

/// The newest note that a segment's file has, or nothing.
std::optional<ImageNote> read_note(const LogSegment& segment);

/// Keeps the note of an open log true: before the image changes it says so, and afterwards what came of it. A note is
/// written into the newest segment, and made durable by whatever syncs that.
///
/// Threads: any, and nobody waits for another's write: a note with a higher sequence holds, whichever is there first.
class ImageNotes {
public:
  /// `image` is as it is before anything of ours changes it, and that is durable.
  ImageNotes(FileSystem& file_system, std::uint64_t salt, const FileStatus& image);
  /// Goes on with a log that was left behind: in `segment`, as of now. `was` is its newest note.
  void resume(LogSegmentRef segment, const std::optional<ImageNote>& was, const FileStatus& image);

  /// Before a change to the image: the log says from now on that there may be one. Throws what the log's disk says;
  /// then nothing may be changed.
  void begin_change();
  void end_change() noexcept;
  /// Nothing of ours changes the image now, unless a change is under way: notes how it is. What the disk says is
  /// forgotten; the note then says less than it could. Cheap when nothing has changed since.
  void settle(const File& image) noexcept;
  /// Writes the note once more: after a failed sync the page cache may forget what it had of the one before.
  void repeat() noexcept;
  /// A sync of the whole file succeeded that began when its modification time was this one.
  void note_durable(std::int64_t modified_ns) noexcept;

  /// Writes the beginning of a new segment with the note in it; `start` has the header and room for all until the first
  /// record. Notes then go there as well, until forget_segment() or keep_segment(): then there alone.
  void begin_segment(const LogSegmentRef& segment, std::span<std::byte> start);
  void forget_segment() noexcept;
  void keep_segment() noexcept;
  /// Lets go of the files.
  void close() noexcept;

private:
  using Lock = std::unique_lock<std::mutex>;

  /// Writes it, as the next one where it has no sequence yet, wherever notes go to by then. From then on it is what
  /// `note_` says, unless there is a later one. Not under the lock.
  void write(ImageNote note);
  void write_to(const LogSegment& segment, const ImageNote& note) const;
  bool lasts(std::int64_t now_ns) const noexcept;

  FileSystem& file_system_;
  const Boot boot_;
  std::mutex mutex_;  // no call to the file system is made under it
  ImageNote note_;    ///< the last one that was written
  std::uint64_t next_sequence_ = 1;
  LogSegmentRef current_;      // null: there is no log yet
  LogSegmentRef beginning_;    // may become the next
  std::uint64_t changes_ = 0;  ///< under way
  std::uint64_t changes_begun_ = 0;
  bool settling_ = false;
};

/// A change to the image for as long as it lives.
class NotedChange {
public:
  explicit NotedChange(ImageNotes& notes) : notes_{notes} { notes_.begin_change(); }
  NotedChange(const NotedChange&) = delete;
  NotedChange& operator=(const NotedChange&) = delete;
  ~NotedChange() { notes_.end_change(); }

private:
  ImageNotes& notes_;
};

}  // namespace pageserver::storage
