#include "storage/engine/set_aside.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

/// Tries names until `attempt` takes one; EEXIST means the next. Returns what it said last.
template <class Attempt>
IoResult with_kept_name(const Folder& folder, const std::string& image_name, std::uint64_t number, std::string& kept,
                        Attempt attempt) {
  bool short_form = false;
  for (std::int64_t now = folder.file_system().now_ns();;) {
    kept = kept_name(image_name, number, now, short_form);
    const IoResult tried = attempt(kept);
    if (tried.error == ENAMETOOLONG && !std::exchange(short_form, true)) continue;
    if (tried.error != EEXIST) return tried;
    now += second_ns;
  }
}

/// Renames it to a name that nothing has yet, and returns that.
std::string keep(const Folder& folder, const std::string& image_name, const std::string& name) {
  const auto parsed = parse_sibling_name(name);
  std::string kept;
  const IoResult renamed = with_kept_name(folder, image_name, parsed ? parsed->number : 0, kept,
                                          [&](const std::string& to) { return folder.try_rename_new(name, to); });
  if (renamed.ok()) return kept;
  throw file_error(folder.file_system(), "rename " + quoted(folder.path_of(name)) + " to", folder.path_of(kept),
                   renamed.error);
}

bool holds_something(const Folder& folder, const std::string& name) {
  const File file = folder.open_file(name, O_RDONLY, 0, "open log");
  std::vector<std::byte> bytes(64 << 10);
  for (std::uint64_t at = 0;; at += bytes.size()) {
    const std::size_t there = file.read_up_to(at, bytes);
    if (std::any_of(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(there),
                    [](std::byte byte) { return byte != std::byte{0}; }))
      return true;
    if (there < bytes.size()) return false;
  }
}

/// The store makes a file of the log and its header at once: one that is empty long after was emptied.
bool was_emptied(const Folder& folder, const std::string& name) {
  FileStatus status;
  return folder.has(name, status) && status.size_bytes == 0 && status.birth_ns != 0 &&
         status.modified_ns > status.birth_ns + second_ns;
}

/// A copy of the last file that counts, as it is: its tail is about to go. False when there is no room for one.
bool copy_aside(const Folder& folder, const std::string& image_name, const LogSegment& segment, std::string& kept) {
  FileSystem& files = folder.file_system();
  const std::uint32_t mode = segment.file.status().mode & 0777u;
  const IoResult made = with_kept_name(folder, image_name, segment.number, kept, [&](const std::string& name) {
    return folder.try_open_file(name, O_RDWR | O_CREAT | O_EXCL, mode);
  });
  if (!made.ok()) return false;
  const File copy{files, static_cast<int>(made.value), folder.path_of(kept)};
  try {
    std::vector<std::byte> bytes(1 << 20);
    for (std::uint64_t at = 0;;) {
      const std::size_t there = segment.file.read_up_to(at, bytes);
      if (there == 0) return true;
      copy.write(at, std::span{bytes}.first(there));
      at += there;
    }
  } catch (const MemoryError&) {
    folder.remove(kept);
    return false;
  }
}

void note_kept(const Folder& folder, const std::string& name, RecoveryReport& report) {
  report.kept_files.push_back(folder.path_of(name));
}

}  // namespace

void drop_behind_cut(const Folder& folder, const std::string& image_name, const LogScan& scan, RecoveryReport& report) {
  const Boot boot = boot_of(folder);
  const bool never_lost = scan.any_note && scan.any_note->boot_id == boot.id && boot.id != 0;
  const bool keeps = never_lost || (!scan.any_note && !scan.note_lost);
  bool lacks_room = false;
  for (auto name = scan.beyond.rbegin(); name != scan.beyond.rend(); ++name) {
    ++report.dropped_files;
    const bool emptied = scan.segments.empty() && was_emptied(folder, *name);
    if (emptied)
      report.warning = "the file " + quoted(folder.path_of(*name)) +
                       " of the log is empty, and was changed after it was made: what was flushed and not yet in the "
                       "image is lost if somebody emptied it; compare the image with a copy";
    const bool reused = std::find(scan.reused.begin(), scan.reused.end(), *name) != scan.reused.end();
    if (keeps && !reused && holds_something(folder, *name))
      note_kept(folder, keep(folder, image_name, *name), report);
    else
      folder.remove(*name);
  }
  report.dropped_records = scan.dropped_records;
  if (keeps && scan.dropped_in_last && !scan.segments.empty()) {
    std::string kept;
    if (copy_aside(folder, image_name, *scan.segments.back(), kept))
      note_kept(folder, kept, report);
    else
      lacks_room = true;
  }
  if (report.kept_files.empty() && !lacks_room) return;
  std::string text = "more than a torn end of the log of " + quoted(folder.path_of(image_name)) +
                     " could not be replayed: " + std::to_string(report.dropped_files) + " files, with " +
                     std::to_string(report.dropped_records) +
                     " whole publishes behind a gap; if nobody changed those files, look after the disk, and compare "
                     "the image with a copy";
  for (std::size_t i = 0; i < report.kept_files.size(); ++i)
    text += (i == 0 ? "; kept aside, to be removed when nobody wants them: " : ", ") + quoted(report.kept_files[i]);
  if (lacks_room) text += "; there was no room to keep the end of the last file that counts";
  report.warning = std::move(text);
}

void set_log_aside(const Folder& folder, const std::string& image_name, RecoveryReport& report) {
  const SiblingFiles siblings = list_siblings(folder, image_name);
  for (auto name = siblings.log.rbegin(); name != siblings.log.rend(); ++name)
    note_kept(folder, keep(folder, image_name, *name), report);
  folder.sync();
}

}  // namespace pageserver::storage
