#include "storage/engine/set_aside.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <vector>

#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

/// Renames it to a name that nothing has yet, and returns that.
std::string keep(const Folder& folder, const std::string& image_name, const std::string& name) {
  const auto parsed = parse_sibling_name(name);
  std::int64_t now = folder.file_system().now_ns();
  for (;; now += second_ns) {
    std::string kept = kept_name(image_name, parsed ? parsed->number : 0, now);
    const IoResult renamed = folder.try_rename_new(name, kept);
    if (renamed.ok()) return kept;
    if (renamed.error != EEXIST)
      throw file_error(folder.file_system(), "rename " + quoted(folder.path_of(name)) + " to", folder.path_of(kept),
                       renamed.error);
  }
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
  std::int64_t now = files.now_ns();
  for (;; now += second_ns) {
    kept = kept_name(image_name, segment.number, now);
    const IoResult made = folder.try_open_file(kept, O_RDWR | O_CREAT | O_EXCL, segment.file.status().mode & 0777u);
    if (made.error == EEXIST) continue;
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
}

void note_kept(const Folder& folder, const std::string& name, RecoveryReport& report) {
  report.kept_files.push_back(folder.path_of(name));
}

}  // namespace

std::string kept_name(const std::string& image_name, std::uint64_t number, std::int64_t now_ns) {
  const auto seconds = static_cast<std::time_t>(now_ns / second_ns);
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&seconds, &parts) != nullptr)
    static_cast<void>(std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts));
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%010llu", static_cast<unsigned long long>(number));
  return image_name + ".kept-" + text.data() + "." + digits.data();
}

void drop_behind_cut(const Folder& folder, const std::string& image_name, const LogScan& scan, RecoveryReport& report) {
  const Boot boot = folder.file_system().boot();
  const bool never_lost = scan.note && scan.note->boot_id == boot.id && boot.id != 0;
  const bool keeps = never_lost || !scan.note;
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
  const Beside beside = look_beside(folder, image_name);
  for (auto name = beside.log.rbegin(); name != beside.log.rend(); ++name)
    note_kept(folder, keep(folder, image_name, *name), report);
  folder.sync();
}

}  // namespace pageserver::storage
