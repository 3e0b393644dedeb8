// What a log says of its image file: the size and modification time that the store's last change left it with. So a
// recovery can tell the image that the log was written for from one that was put back from a copy, even under the same
// name and inode.
//
// How it works. Each segment has places for notes; the note with the highest sequence holds (LOG_FORMAT.md). Before the
// store changes the image, it writes a note `changing`: the image may have any modification time from now until some
// seconds ahead. While changes follow each other, that note is renewed; once they have ended, a note `settled` has the
// exact size and time. An image that fits neither was changed by somebody else.
//
// After a loss of power the newest notes may be missing, and so may be the image's newest changes. So what is left must
// still be true of each other: a note is synced before a change when the ones that a loss of power could leave are too
// old, or are from before the clock was set.
#pragma once

#include <array>
#include <cstddef>
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

/// A note `changing` allows changes for note_lease_ns ahead. A change begins only while note_rest_ns of that are left,
/// since it gets its modification time from the system's clock some time after it began. All in nanoseconds.
inline constexpr std::int64_t note_lease_ns = 5'000'000'000;
inline constexpr std::int64_t note_rest_ns = 4'000'000'000;
/// After a loss of power the note may be older than the image's time, since the last note may be lost. A recovery
/// accepts a difference up to note_lost_ns. So when the image changes, the notes that a loss of power could leave are
/// never older than note_age_ns.
inline constexpr std::int64_t note_lost_ns = 3'600'000'000'000;
inline constexpr std::int64_t note_age_ns = note_lost_ns / 4;
/// How long a note may be in memory only: the system writes dirty pages back by itself in half of that time.
inline constexpr std::int64_t note_writeback_ns = 60'000'000'000;
/// In a note: the time is not known.
inline constexpr std::int64_t any_time_ns = (std::int64_t{1} << 62) - 1;
/// How far a clock may go back without anybody setting it.
inline constexpr std::int64_t clock_slack_ns = 2'000'000'000;
/// How wrong a clock may be when a machine starts.
inline constexpr std::int64_t boot_slack_ns = 10'000'000'000;

/// Whether two modification times are the same as far as file systems keep them.
bool is_same_file_time(std::int64_t a, std::int64_t b) noexcept;

/// Returns nothing when image and log belong together, as far as size and modification time tell. Else returns the
/// contradiction, as the end of a sentence for people: "the log was written for an image with ...". Mode, owner and
/// name are not looked at: they may change at any time without changing a byte.
std::optional<std::string> note_contradicts(const ImageNote& note, const FileStatus& image, const Boot& boot);

/// "2026-11-28 04:01:02.123456789 UTC".
std::string time_text(std::int64_t ns);

/// The newest note in a segment's file, or nothing.
std::optional<ImageNote> read_note(const LogSegment& segment);

/// A sync of the log failed. The store must not trust that log's later syncs: their success proves nothing.
class NoteSyncError : public MemoryError {
public:
  explicit NoteSyncError(const MemoryError& reason) : MemoryError{reason} {}
};

/// Keeps the notes of an open log true: see the top of this file. Notes go into the newest segment, and become durable
/// with the next sync of that.
///
/// When the image is not as the last note says, somebody else changed it. From then on the note says `foreign`, and
/// stays so: no opening replays this log onto that image by itself.
///
/// Threads: any. No thread waits for another's write: of two notes the one with the higher sequence holds, in whichever
/// order they are written.
class ImageNotes {
public:
  /// `image` is the file's status before the store changes it; that state is durable. The log is in `folder`.
  ImageNotes(const Folder& folder, std::uint64_t salt, const FileStatus& image);
  /// For a recovery: goes on with a log that was left behind, in its segment `segment`. `was` is the note that holds;
  /// no note of the log has a higher sequence than `last_sequence`. Returns false when the new note could not be
  /// synced: the caller has to copy the segment, or write and sync it again, before it changes the image.
  bool resume(LogSegmentRef segment, const std::optional<ImageNote>& was, std::uint64_t last_sequence,
              const FileStatus& image);

  /// To be called before a change to `image`: the log says from now on that there may be one. When it throws, a
  /// NoteSyncError or another error of the log's disk, the image must not be changed.
  void begin_change(const File& image);
  void end_change() noexcept;
  /// Unless a change is under way: notes the size and time that `image` has, or that somebody else changed it. Errors
  /// of the disk are ignored, since the note before stays true. Costs one look at the file when nothing has changed
  /// since the last call.
  void settle(const File& image) noexcept;
  /// Whether settle() is due, for a caller that changes the image often: true at most once in a tenth of a second.
  bool wants_to_settle() noexcept;
  /// The modification time of a change by somebody else, if there was one.
  std::optional<std::int64_t> foreign_ns() const;
  /// Writes the note again: after a failed sync the page cache may have dropped it. `with_header`: before it the header
  /// of the newest segment, which was never synced and may be gone as well; without it the notes there would not count.
  void repeat(bool with_header) noexcept;
  /// The segment's file was synced. A header that is durable is not written again: a loss of power would tear it.
  void header_synced(const LogSegment& segment) noexcept;
  /// begin_sync() before a sync of `image` that includes its times (fsync), and end_sync() after that succeeded.
  struct Sync {
    std::int64_t modified_ns = 0;
    std::uint64_t changes_begun = 0;
    bool quiet = false;
  };
  Sync begin_sync(const File& image);
  void end_sync(const Sync& sync) noexcept;

  /// Writes the beginning of a new segment with the note in it; `start` has the header, and room up to the first
  /// record. From then on notes go to the old segment and to this one. After keep_segment() they go to the new one
  /// alone, after forget_segment() to the old one.
  void begin_segment(const LogSegmentRef& segment, std::span<std::byte> start);
  void forget_segment() noexcept;
  void keep_segment() noexcept;
  /// Releases the segments.
  void close() noexcept;

private:
  /// Writes the note to each segment that notes go to; it gets the next sequence unless it has one. Then it is `note_`,
  /// unless that is a later one by now. `lasting`: writes it twice, into both blocks, and syncs that, so that no older
  /// note holds even if a loss of power tears one of the blocks later.
  void write(ImageNote note, bool lasting = false) PAGESERVER_EXCLUDES(mutex_);
  void write_to(const LogSegment& segment, ImageNote note) const;
  /// Where a failed sync may have taken the header of `current_`: writes it again. Unlocks meanwhile.
  void write_lost_header() PAGESERVER_REQUIRES(mutex_);
  bool lasts(std::int64_t now_ns) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// Whether each note that a loss of power could leave allows an image that is changed now.
  bool is_explained(std::int64_t now_ns) const noexcept PAGESERVER_REQUIRES(mutex_);
  /// Makes a note which says that the image may change from now on.
  ImageNote changing(std::int64_t now_ns) noexcept PAGESERVER_REQUIRES(mutex_);
  /// Where the note is `settled`: looks whether the image still is as it says. Unlocks meanwhile.
  void look(const File& image) noexcept PAGESERVER_REQUIRES(mutex_);
  void note_foreign(const FileStatus& found) noexcept PAGESERVER_REQUIRES(mutex_);

  Boot boot() const noexcept { return has_boot_ ? file_system_.boot() : Boot{}; }

  const Folder folder_;
  FileSystem& file_system_;
  const bool has_boot_;  ///< the image depends on this machine's runs
  const std::uint64_t boot_id_;
  mutable Mutex mutex_;                           // no call to the file system is made under it
  ImageNote note_ PAGESERVER_GUARDED_BY(mutex_);  ///< the last one that was written
  /// Each note that a loss of power could leave allows times from the first on, and is not older than the second.
  std::int64_t explained_earliest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::int64_t explained_latest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  /// When the system started, by the clock as it was when the oldest of those was written. It differs from now: the
  /// clock was set since.
  std::int64_t started_ns_ PAGESERVER_GUARDED_BY(mutex_);
  std::uint64_t next_sequence_ PAGESERVER_GUARDED_BY(mutex_) = 1;
  LogSegmentRef current_ PAGESERVER_GUARDED_BY(mutex_);    // null: there is no log yet
  LogSegmentRef beginning_ PAGESERVER_GUARDED_BY(mutex_);  // the new one, see begin_segment()
  using Header = std::array<std::byte, log_format::segment_header_bytes>;
  Header current_header_ PAGESERVER_GUARDED_BY(mutex_){};  // of a segment that was made here
  Header beginning_header_ PAGESERVER_GUARDED_BY(mutex_){};
  bool header_lost_ PAGESERVER_GUARDED_BY(mutex_) = false;   ///< that of `current_` may be
  bool header_lasts_ PAGESERVER_GUARDED_BY(mutex_) = false;  ///< it is durable
  std::uint64_t changes_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< under way
  std::uint64_t changes_begun_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  bool settling_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::int64_t settle_from_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< see wants_to_settle()
  std::optional<std::int64_t> foreign_ns_ PAGESERVER_GUARDED_BY(mutex_);
  /// The latest time that the image may have had since its times were synced; 0: it was not changed since. After a loss
  /// of power it may have that time again, even if the clock was set back meanwhile.
  std::int64_t latest_ns_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

/// Marks a change to the image as the store's own while it lives.
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
