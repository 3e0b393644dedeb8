// What becomes of a redo log that a killed process left beside an image. The engine recovers when it opens; pagectl
// looks and recovers offline.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "storage/engine/background.hpp"
#include "storage/engine/engine_events.hpp"
#include "storage/file/file_system.hpp"
#include "storage/image/image_file.hpp"
#include "storage/log/log_sizes.hpp"
#include "storage/resume_entry.hpp"

namespace pageserver::storage {

struct RecoveryReport {
  bool log_found = false;
  bool replayed = false;               ///< the image holds what the log said, and the log is gone
  std::optional<MemoryError> problem;  ///< why the log can't be replayed as it is; nothing was changed then
  bool adoptable = false;              ///< `problem` is only that image and log don't belong together
  std::uint64_t log_bytes = 0;
  std::uint64_t segments = 0;            ///< files that count
  std::uint64_t records = 0;             ///< publishes that count
  std::uint64_t tail_bytes = 0;          ///< after the last record that counts; reserved room mostly
  std::uint64_t end_position = 0;        ///< of the last record that counts
  std::uint64_t synced_position = 0;     ///< the highest that the log states
  std::uint64_t image_pages = 0;         ///< as the file is now
  std::uint64_t pages = 0;               ///< of the recovered image
  std::uint64_t dropped_files = 0;       ///< of the log, behind the last record that counts
  std::uint64_t dropped_records = 0;     ///< whole ones, there
  std::vector<std::string> kept_files;   ///< paths of what was taken out of the log and not removed
  std::optional<ResumeEntry> resumable;  ///< which writer may go on: the last record's, or the resume file's
  std::string warning;                   ///< not empty: more than a torn end was dropped, and what a person can do
};

/// Only looks; changes nothing. Takes a shared lock while it looks: busy when someone serves the image.
RecoveryReport inspect_log(FileSystem& file_system, const std::string& path);

/// Replays the log into the image and removes it. Throws `problem`, having changed nothing, unless `adopt` accepts a
/// pair that does not belong together by inode, times or size. Also throws what the file system says; running it
/// again is safe at any time. Does nothing where there is no log. `events` hears how far it is.
RecoveryReport recover_log(FileSystem& file_system, const std::string& path, bool adopt,
                           EngineEvents& events = no_engine_events());

/// Gives the log's files other names, which no store takes for its own: the image is used as it is, without what they
/// hold. Needs no whole log. Does nothing where there is none.
RecoveryReport drop_log(FileSystem& file_system, const std::string& path);

/// As recover_log(), on an image that the caller holds open and locked. Throws provider_error, with the log kept, soon
/// after `abandon` is set. `events` hears how far it is. With a lane the log is read back from the disk there while it
/// is scanned.
RecoveryReport recover_image(ImageFile& image, bool adopt, const std::atomic<bool>* abandon = nullptr,
                             const LogSizes& sizes = {}, Background* lane = nullptr,
                             EngineEvents& events = no_engine_events());

/// A report of a replay as people and clients get it. `unix_ms`: when it was done.
Recovery recovery_of(const RecoveryReport& report, std::int64_t unix_ms);

/// What identifies an image to its log.
struct ImageIdentity image_identity(const FileStatus& status) noexcept;

}  // namespace pageserver::storage
