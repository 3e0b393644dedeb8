// How files lie in a pool of objects. docs/homes.md says why it is so.
//
//   pageserver.names          keys: n.NAME     a file: see ObjectEntry
//                                   e.FILE     the epoch of who has FILE locked for writing; stays when that is killed
//                                   E          the highest epoch that was given
//                                   u.FILE     a file without a name whose runs are still there: see RemovedEntry
//   pageserver.FILE.RUN       the bytes [RUN, RUN + 1) × run_bytes of the file; its key `e` is the epoch of its writer
//   pageserver.lock.FILE      the lock, for as long as it is renewed
//
// FILE is a file's number in 16 hex digits, RUN in 8. Epochs are 8 bytes, the highest first, so that they compare as
// numbers do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pageserver::storage {

inline constexpr const char* names_object = "pageserver.names";
inline constexpr const char* last_epoch_key = "E";
inline constexpr const char* run_epoch_key = "e";
inline constexpr std::uint64_t image_run_bytes = 1ull << 20;
/// A log is written and read in order: fewer, larger objects. Files of this size of runs are fenced, whatever their
/// name is by now.
inline constexpr std::uint64_t log_run_bytes = 4ull << 20;

struct ObjectEntry {
  std::uint64_t file = 0;
  std::uint32_t mode = 0;
  std::int64_t birth_ns = 0;
  std::uint64_t size_bytes = 0;    ///< at least; where the extent is larger, the last run with bytes says
  std::uint64_t extent_bytes = 0;  ///< no run lies behind it
  std::uint64_t run_bytes = 0;

  bool operator==(const ObjectEntry&) const = default;
};

struct RemovedEntry {
  std::uint64_t owner = 0;  ///< the image whose owner removed it; 0: nobody's
  std::uint64_t extent_bytes = 0;
  std::uint64_t run_bytes = 0;
};

std::string encode_entry(const ObjectEntry& entry);
std::optional<ObjectEntry> decode_entry(const std::string& text);
std::string encode_removed(const RemovedEntry& entry);
std::optional<RemovedEntry> decode_removed(const std::string& text);
std::string encode_epoch(std::uint64_t epoch);
/// 0 where it is none.
std::uint64_t decode_epoch(std::string_view bytes) noexcept;

inline std::string name_key(const std::string& name) { return "n." + name; }
std::string epoch_key(std::uint64_t file);
std::string removed_key(std::uint64_t file);
std::string run_object(std::uint64_t file, std::uint64_t run);
std::string lock_object(std::uint64_t file);

/// What is told at a lock's object: who wants it, behind these words; and that it may be free.
inline constexpr std::string_view lock_wanted = "wanted by ";
inline constexpr std::string_view lock_free = "free";

/// The image that a name belongs to: itself, or of a sibling the image beside which it lies.
std::string image_of(const std::string& name);
/// Files that are made as a log's are fenced: all their runs are there before anything is written, so that a run which
/// is missing says that another has removed it.
bool is_fenced(const std::string& name);

}  // namespace pageserver::storage
