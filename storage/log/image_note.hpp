// What a log knows of its image file: the time and size that our last change left it with. So an image that was put
// back from a copy, in the same place and with the same inode, is told from the one that the log was written for.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <pageserver/error.hpp>

#include "base/mutex.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// How long ahead a note says that the image may change, and how much of that has to be left when a change begins. A
/// change takes its time from the system's clock while it runs; so long it may take to begin. All in nanoseconds.
inline constexpr std::int64_t note_lease_ns = 5'000'000'000;
inline constexpr std::int64_t note_rest_ns = 4'000'000'000;
/// In another run of the system the note may be older than the image's time: what was written last may be lost. So a
/// note that may be what is left is never older than the next constant when the image changes.
inline constexpr std::int64_t note_lost_ns = 3'600'000'000'000;
inline constexpr std::int64_t note_age_ns = note_lost_ns / 4;
/// So long a note may be in memory only, as far as the system writes back by itself what is half as old.
inline constexpr std::int64_t note_writeback_ns = 60'000'000'000;
/// In a note: a time of which nothing is known.
inline constexpr std::int64_t any_time_ns = (std::int64_t{1} << 62) - 1;
/// By so much a clock may go back without anybody setting it.
inline constexpr std::int64_t clock_slack_ns = 2'000'000'000;
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

/// A sync of the log failed. Whoever appends to that log has to take it for what it is: a later success proves nothing.
class NoteSyncError : public MemoryError {
public:
  explicit NoteSyncError(const MemoryError& reason) : MemoryError{reason} {}
};

/// Keeps the note of an open log true: before the image changes it says so, and afterwards what came of it. A note is
/// written into the newest segment, and made durable by whatever syncs that; before a change it is synced at once when
/// what a loss of power may leave of the notes would not explain it: an old one, or one from before the clock was set.
///
/// An image that is not as the last note left it was changed by somebody else. From then on the note says that, and
/// nothing else any more: no opening replays this log onto that image by itself.
///
/// Threads: any, and nobody waits for another's write: a note with a higher sequence holds, whichever is there first.
class ImageNotes {
public:
  /// `image` is as it is before anything of ours changes it, and that is durable. The log is in `folder`.
  ImageNotes(const Folder& folder, std::uint64_t salt, const FileStatus& image);
  /// Goes on with a log that was left behind: in `segment`, as of now. `was` is the note that holds, and no note of the
  /// log has a higher sequence than `last_sequence`. False when the disk refused to sync what says so now: before the
  /// image changes, the segment has to be copied, or written and synced once more.
  bool resume(LogSegmentRef segment, const std::optional<ImageNote>& was, std::uint64_t last_sequence,
              const FileStatus& image);

  /// Before a change to `image`: the log says from now on that there may be one. Throws what the log's disk says, or
  /// NoteSyncError; then nothing may be changed.
  void begin_change(const File& image);
  void end_change() noexcept;
  /// Nothing of ours changes `image` now, unless a change is under way: notes how it is, or that somebody else changed
  /// it. What the disk says is forgotten; the note then says less than it could. One look at the file when nothing has
  /// changed since.
  void settle(const File& image) noexcept;
  /// Whether it is time to settle, for who changes the image often: not within a tenth of a second after the last time
  /// that this said so.
  bool wants_to_settle() noexcept;
  /// The modification time of a change that was not ours, if there was one.
  std::optional<std::int64_t> foreign_ns() const;
  /// Writes the note once more: after a failed sync the page cache may forget what it had of the one before.
  void repeat() noexcept;
  /// Before a sync of the whole of `image`, its times included, and after it succeeded.
  struct Sync {
    std::int64_t modified_ns = 0;
    std::uint64_t changes_begun = 0;
    bool quiet = false;
  };
  Sync begin_sync(const File& image);
  void end_sync(const Sync& sync) noexcept;

  /// Writes the beginning of a new segment with the note in it; `start` has the header and room for all until the first
  /// record. Notes then go there as well, until forget_segment() or keep_segment(): then there alone.
  void begin_segment(const LogSegmentRef& segment, std::span<std::byte> start);
  void forget_segment() noexcept;
  void keep_segment() noexcept;
  /// Lets go of the files.
  void close() noexcept;

private:
  /// Writes it, as the next one where it has no sequence yet, wherever notes go to by then. From then on it is what
  /// `note_` says, unless there is a later one. `lasting`: synced, and so that no older one holds should a block be
  /// torn later.
  void write(ImageNote note, bool lasting = false) PAGESERVER_EXCLUDES(mutex_);
  void write_to(const LogSegment& segment, ImageNote note) const;
  bool lasts(std::int64_t now_ns) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// Whatever note a loss of power may leave, it fits an image that is changed now.
  bool is_explained(std::int64_t now_ns) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// A note that the image may change from now on.
  ImageNote changing(std::int64_t now_ns) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Of an image that is settled, whether it still is as it was left. Lets go of the lock meanwhile.
  void look(const File& image) noexcept PAGESERVER_REQUIRES(mutex_);
  void note_foreign(const FileStatus& found) noexcept PAGESERVER_REQUIRES(mutex_);

  const Folder folder_;
  FileSystem& file_system_;
  const std::uint64_t boot_id_;
  mutable Mutex mutex_;                           // no call to the file system is made under it
  ImageNote note_ PAGESERVER_GUARDED_BY(mutex_);  ///< the last one that was written
  /// Whatever note a loss of power may leave, it speaks of a time not before the second, and forbids none from the
  /// first on.
  std::int64_t explained_earliest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::int64_t explained_latest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  /// When the system started, as the clock said when the oldest of those was written. Another one: it was set since.
  std::int64_t started_ns_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint64_t next_sequence_ PAGESERVER_GUARDED_BY(mutex_) = 1;
  LogSegmentRef current_ PAGESERVER_GUARDED_BY(mutex_);      // null: there is no log yet
  LogSegmentRef beginning_ PAGESERVER_GUARDED_BY(mutex_);    // may become the next
  std::uint64_t changes_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< under way
  std::uint64_t changes_begun_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  bool settling_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::int64_t settle_from_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< see wants_to_settle()
  std::optional<std::int64_t> foreign_ns_ PAGESERVER_GUARDED_BY(mutex_);
  /// The latest time that the image may have had since its times were synced, 0 if none since: after a loss of power it
  /// may have that again, though the clock was set back.
  std::int64_t latest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

/// A change to the image for as long as it lives.
class NotedChange {
public:
  NotedChange(ImageNotes& notes, const File& image) : notes_{notes} { notes_.begin_change(image); }
  NotedChange(const NotedChange&) = delete;
  NotedChange& operator=(const NotedChange&) = delete;
  ~NotedChange() { notes_.end_change(); }

private:
  ImageNotes& notes_;
};

}  // namespace pageserver::storage
