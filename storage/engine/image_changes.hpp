// Tells the store's own changes to its image from those of anybody else: for a person who looks (ImageWatch), and in
// the log for a recovery (ImageNotes).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/engine/image_watch.hpp"
#include "storage/engine/served_image.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_segment.hpp"

namespace pageserver::storage {

/// Threads: any.
class ImageChanges {
public:
  /// `image` outlives this; what it holds now is durable. `salt`: the log's.
  ImageChanges(ServedImage& image, std::uint64_t salt);

  /// For the log, which gives each segment its notes.
  ImageNotes& notes() noexcept { return notes_; }
  void close() noexcept { notes_.close(); }

  /// Marks a change to the image file as the store's own while it lives. Throws when that can't be noted in the log, a
  /// NoteSyncError or another error of its disk: then the image must not be changed.
  class Change {
  public:
    explicit Change(ImageChanges& changes) : noted_{changes.notes_, changes.image_->file()}, watched_{changes.watch_} {}

  private:
    NotedChange noted_;
    ImageWatch::Change watched_;
  };

  /// Syncs the image, with its times: the next note in the log states them.
  void sync();
  /// See ImageNotes: notes the image as it is once nothing changes it.
  void settle() noexcept { notes_.settle(image_->file()); }
  bool wants_to_settle() noexcept { return notes_.wants_to_settle(); }

  /// begin_look() comes before other looks at the image, and end_look() after them.
  struct Look {
    ImageWatch::Look watch;
    std::optional<std::int64_t> modified_ns;  ///< where it could be had
  };
  Look begin_look() noexcept;
  /// `found`: another fault of the image, or nothing. Returns the warning of this look or an earlier one; empty: there
  /// is none.
  std::string end_look(const Look& look, std::string found);
  void warn(std::string warning) { watch_.warn(std::move(warning)); }
  /// Empty, or what the notes know of a change by somebody else, and what can be done.
  std::string foreign() const;

private:
  ImageChanges(ServedImage& image, std::uint64_t salt, const FileStatus& status);

  ServedImage& image_;
  ImageNotes notes_;
  ImageWatch watch_;
};

}  // namespace pageserver::storage
