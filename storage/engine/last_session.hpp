// Which writer may go on after a store was opened anew: the last one that published, as long as no other has come.
//
//   the log of a killed store  --+
//                                +-->  resumable  -- the session claims it, or another writer comes -->  nobody
//   the resume file            --+                                                                         |
//        ^                                                                                                 |
//        +-- the close of a store whose last session is kept for the next opening  <-- a writer publishes --+
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/mutex.hpp"
#include "storage/engine/served_image.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/resume_entry.hpp"

namespace pageserver::storage {

/// Threads: any. Calls that touch the file are to be made without a lock, and not at the same time as each other, but
/// for drop_file().
class LastSession {
public:
  /// `found`: what the opening found of it; with an empty one there is no file. `image` outlives this.
  LastSession(const ServedImage& image, std::uint32_t file_mode, const EntryBytes& found) noexcept;

  /// The session that may go on, if there is one.
  std::optional<ResumeEntry> resumable() const;
  /// Whether `claim` is of that session.
  bool is(const EntryBytes& claim) const noexcept;
  /// Nobody may go on any more.
  void forget() noexcept;

  /// Whether the last writer of this opening may go on in the next one. No other writer is let in then.
  void keep(bool keeps) noexcept;
  bool is_kept() const noexcept;

  /// At the close, before the last of the log goes, which may be all that knows the session; the image is synced, with
  /// its times. `last_entry`: of the log's last record. Leaves the file with that where keep() said so; the file that
  /// is there stays where its session still may go on, and goes otherwise.
  void leave_file(const EntryBytes& last_entry);
  /// Another writer has come: the file of an earlier opening goes. Where it can't be removed, the close tries again.
  void drop_file() noexcept;
  bool has_file() const noexcept { return has_file_; }

private:
  const ServedImage& image_;
  const std::uint32_t file_mode_;
  mutable Mutex mutex_;  // no call to the file system is made under it
  EntryBytes resumable_ PAGESERVER_GUARDED_BY(mutex_);
  bool keeps_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::atomic<bool> has_file_;  // there is one, of an earlier opening
};

}  // namespace pageserver::storage
