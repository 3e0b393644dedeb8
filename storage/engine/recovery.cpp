#include "storage/engine/recovery.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/io_memory.hpp"
#include "storage/engine/image_copy.hpp"
#include "storage/engine/log_check.hpp"
#include "storage/engine/set_aside.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_index.hpp"
#include "storage/log/log_scan.hpp"
#include "storage/log/resume_file.hpp"

namespace pageserver::storage {
namespace {

RecoveryReport report_of(const LogScan& scan, const FileStatus& image) {
  RecoveryReport report;
  report.log_found = scan.bytes != 0 || !scan.segments.empty() || !scan.beyond.empty();
  report.problem = scan.problem;
  report.log_bytes = scan.bytes;
  report.segments = scan.segments.size();
  report.records = scan.records;
  report.tail_bytes = scan.tail_bytes;
  report.end_position = scan.end_position;
  report.synced_position = scan.synced_position;
  report.image_pages = image.size_bytes / page_size;
  if (scan.entry_known) report.resumable = decode_entry(scan.entry.view());
  report.pages = scan.segments.empty() ? report.image_pages : std::max(scan.pages, report.image_pages);
  return report;
}

std::string choice_text(const LogScan& scan, const std::string& path) {
  return "if this image was put back from a copy, or comes from elsewhere, the log is not its own: use the image as it "
         "is by `pagectl recover --drop-log " +
         path + "`, which loses the " + std::to_string(scan.records) +
         " publishes in the log and keeps its files under other names; if image and log were moved or copied together, "
         "or only the image's time was changed (touch), replay the log by `pagectl recover --adopt " +
         path + "`, which writes those publishes over whatever the image holds";
}

/// A log is replayed only onto the image that it was written for, in a state that it explains.
void check_pair(const LogScan& scan, const FileStatus& image, const std::string& path, const Boot& boot,
                RecoveryReport& report) {
  if (report.problem || scan.segments.empty()) return;
  std::string what;
  const ImageIdentity here = image_identity(image);
  const ImageIdentity& expected = scan.first->image;
  if (here.inode != expected.inode)
    what = "inode " + std::to_string(expected.inode) + ", and this one has inode " + std::to_string(here.inode);
  else if (here.birth_ns != expected.birth_ns && here.birth_ns != 0 && expected.birth_ns != 0)
    what = "birth time " + std::to_string(expected.birth_ns) + " ns, and this one has " +
           std::to_string(here.birth_ns) + " ns";
  else if (here.generation != expected.generation && here.generation != 0 && expected.generation != 0)
    what = "generation " + std::to_string(expected.generation) + " of that inode, and this one has " +
           std::to_string(here.generation);
  else if (image.size_bytes < scan.image_bytes_min)
    what = "at least " + std::to_string(scan.image_bytes_min) + " bytes, and this one has " +
           std::to_string(image.size_bytes);
  else if (image.size_bytes > scan.pages * page_size)
    what = "at most " + std::to_string(scan.pages * page_size) + " bytes, and this one has " +
           std::to_string(image.size_bytes);
  else if (scan.note && scan.records != 0)
    what = note_contradicts(*scan.note, image, boot).value_or("");
  if (what.empty()) return;
  report.adoptable = true;
  report.problem.emplace(Errc::damaged, "the log beside " + quoted(path) + " was written for an image with " + what +
                                            "; " + choice_text(scan, path));
}

LogScan scan_into(const ImageFile& image, const SiblingFiles& siblings, int flags, LogIndex* index,
                  const LogSizes& sizes = {}, EngineEvents& events = no_engine_events(),
                  const std::function<void(const std::vector<LogSegmentRef>&)>& found = {}) {
  std::optional<std::uint64_t> first;
  const auto apply = [&](const ScannedRecord& record) {
    if (!first) first = record.data_position;
    events.recovery_read(record.data_position - *first + 1);
    if (index == nullptr) return;
    std::uint64_t position = record.data_position;
    for (const LogRange& range : record.ranges) {
      index->add(range.offset, range.length, record.header.version, range.zero ? no_position : position, nullptr);
      if (!range.zero) position += range.length;
    }
  };
  return scan_log(image.folder(), image.name(), siblings.log, flags, apply, sizes, found);
}

/// Calls `bytes(offset, span)` for what the segment's file has within `[from, until)`, in parts.
template <class Bytes>
void for_each_part(const LogSegment& segment, std::uint64_t from, std::uint64_t until, const LogSizes& sizes,
                   Bytes bytes) {
  std::vector<std::byte> buffer;
  while (from < until) {
    buffer.resize(std::min(until - from, sizes.part_bytes));
    const std::size_t there = segment.file.read_up_to(from, buffer);
    if (there == 0) return;  // a segment without a record may end after its header
    bytes(from, std::span{buffer}.first(there));
    from += there;
  }
}

/// Notes whether the segment's file has the right mark. Returns how many bytes of one it has.
std::size_t look_for_mark(LogSegment& segment) {
  std::array<std::byte, log_format::mark_bytes> encoded{};
  const std::size_t there = segment.file.read_up_to(segment.layout.mark_at, encoded);
  SegmentMark mark;
  segment.marked = decode_mark(std::span{encoded}.first(there), mark) == Decoded::valid && mark.salt == segment.salt &&
                   mark.position == segment.first_position;
  return there;
}

/// Only the right mark goes along. Else the mark's block is empty, and whoever writes it there tears nothing.
void copy_mark(LogSegment& segment, const File& copy) {
  const std::size_t there = look_for_mark(segment);
  if (segment.marked || there == 0) return;
  const std::array<std::byte, log_format::mark_bytes> encoded{};
  copy.write(segment.layout.mark_at, std::span{encoded}.first(there));
}

/// Puts a synced copy of what counts in the segment in the place of its file. False when there is no room for it.
bool replace_by_copy(const Folder& folder, const std::string& image_name, LogSegment& segment, const LogSizes& sizes) {
  const std::string copy_name = spare_name(image_name, segment.number);
  const std::uint64_t end = segment.offset_of(segment.end_position);
  File copy;
  try {
    copy = folder.create_file(copy_name, segment.file.status().mode & 0777u, "create a copy of the log");
    copy.reserve(0, end);
    for_each_part(segment, 0, end, sizes, [&](std::uint64_t at, std::span<const std::byte> bytes) {
      copy.write(at, bytes);
      // The disk works while the next part is copied, and the sync has less to wait for.
      folder.file_system().start_writeback(copy.descriptor(), at, bytes.size());
    });
    copy_mark(segment, copy);
    if (!mutated(Mutation::drop_recovery_log_sync)) copy.sync_data();
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::no_space) throw;
    segment.marked = false;
    folder.remove(copy_name);
    return false;
  }
  const std::string name = file_name(segment.file.path());
  folder.rename(copy_name, name);
  segment.unmap();
  segment.file = File{std::move(copy), folder.path_of(name)};
  return true;
}

/// Ends a recovery between two steps; the next one begins anew.
void check_abandoned(const std::atomic<bool>* abandon, const std::string& path) {
  if (abandon == nullptr || !*abandon) return;
  throw MemoryError{Errc::provider_error, "recover " + quoted(path) +
                                              ": ended by a stop before all of its log was in the image; the log is "
                                              "kept, and the next opening begins again"};
}

/// A mapping says nothing of a file that was cut in the middle of a page: what the page has behind the cut is zeros.
void check_not_cut(const LogScan& scan) {
  for (const LogSegmentRef& segment : scan.segments) {
    const std::uint64_t needed = segment->offset_of(segment->end_position);
    const std::uint64_t has = segment->file.status().size_bytes;
    if (segment->mapped().empty() || has >= needed) continue;
    throw MemoryError{Errc::damaged, "log " + quoted(segment->file.path()) + ": it had " + std::to_string(needed) +
                                         " bytes, and was cut to " + std::to_string(has) +
                                         " while it was replayed; restore the image and its log together from a copy"};
  }
}

/// The records that nobody stated to be synced may be in memory only: after a kill, or after a sync that failed and
/// was forgotten. What the disk has after one more sync is durable for sure, and so is a synced copy. Only then may the
/// image change: should power fail in the middle, the same records are found again. They may as well be durable
/// already, and answered; so they are written over in place only where there is no room for a copy: a loss of power
/// then may tear them.
/// `note_lasts`: the note in the last segment is synced.
void make_log_durable(const Folder& folder, const std::string& image_name, const LogScan& scan, LogCheck& check,
                      bool note_lasts, const std::atomic<bool>* abandon, const LogSizes& sizes) {
  for (const LogSegmentRef& segment : scan.segments) {
    if (segment->end_position <= scan.synced_position && segment != scan.segments.back()) continue;
    check_abandoned(abandon, folder.path_of(image_name));
    if (check.has(*segment, segment->offset_of(segment->end_position)) &&
        (note_lasts || segment != scan.segments.back())) {
      look_for_mark(*segment);
      continue;
    }
    if (!mutated(Mutation::recovery_writes_in_place) && replace_by_copy(folder, image_name, *segment, sizes)) continue;
    const std::uint64_t from =
        scan.synced_position > segment->first_position ? segment->offset_of(scan.synced_position) : 0;
    for_each_part(*segment, from, segment->offset_of(segment->end_position), sizes,
                  [&](std::uint64_t at, std::span<const std::byte> bytes) { segment->file.write(at, bytes); });
    if (!mutated(Mutation::drop_recovery_log_sync)) segment->file.sync_data();
  }
  if (!mutated(Mutation::drop_recovery_entry_sync)) folder.sync();
}

void copy_into_image(ImageFile& image, const LogScan& scan, LogIndex& index, ImageNotes& notes,
                     const std::atomic<bool>* abandon, EngineEvents& events) {
  if (image.pages() < scan.pages) {
    const NotedChange change{notes, image.file()};
    image.grow(scan.pages - image.pages(), ~0ull);
  }
  // The disk writes what was copied while the next pages are, in pieces large enough for it to sort what lies
  // scattered.
  constexpr std::uint64_t writeback_pages = 256;
  std::uint64_t written_back = 0;
  base::IoBytes scratch;
  std::uint64_t next = 0;
  for (std::uint64_t page = index.next_page(0); page != no_position; page = index.next_page(next)) {
    check_abandoned(abandon, image.path());
    events.recovery_copied(page, scan.pages);
    PageCopy copy;
    copy.page = page;
    copy.pages = index.alike_until(page) - page;
    copy.may_punch = true;
    index.pieces_at(page, scan.version, 0, static_cast<std::uint32_t>(page_size), copy.pieces);
    const NotedChange change{notes, image.file()};
    next = page + copy_pages(copy, scan.segments, image.file(), scratch).pages;
    if (next - written_back < writeback_pages) continue;
    image.file().file_system().start_writeback(image.file().descriptor(), written_back * page_size,
                                               (next - written_back) * page_size);
    written_back = next;
  }
  // Who is killed from here on leaves an image that is as the log says.
  notes.settle(image.file());
  if (!mutated(Mutation::drop_recovery_image_sync)) image.file().sync_data();
}

/// Keeps the last record's entry elsewhere before the log goes. Where that has none, what was kept before is out of
/// date.
void keep_entry(const ImageFile& image, const LogScan& scan, bool is_own_image) {
  if (!scan.entry_known || mutated(Mutation::skip_resume_file)) return;
  const Folder& folder = image.folder();
  if (scan.entry.size != 0 && is_own_image) {
    try {
      image.file().sync();  // the file names its modification time, which must last
      return write_resume_file(folder, image.name(), scan.entry, image.file().status(),
                               scan.segments.back()->file.status().mode & 0777u);
    } catch (const MemoryError& error) {
      // The image matters more: a client that comes back is told that its session is over.
      if (error.errc() != Errc::no_space) throw;
    }
  }
  if (!has_resume_file(folder, image.name())) return;
  remove_resume_file(folder, image.name());
  folder.sync();
}

}  // namespace

Recovery recovery_of(const RecoveryReport& report, std::int64_t unix_ms) {
  Recovery recovery;
  recovery.unix_ms = unix_ms;
  recovery.log_bytes = report.log_bytes;
  recovery.log_files = report.segments;
  recovery.records = report.records;
  recovery.pages = report.pages;
  recovery.dropped_files = report.dropped_files;
  recovery.dropped_records = report.dropped_records;
  recovery.kept_count = report.kept_files.size();
  for (const std::string& path : report.kept_files) recovery.kept_files.push_back(file_name(path));
  recovery.warning = report.warning;
  return recovery;
}

ImageIdentity image_identity(const FileStatus& status) noexcept {
  return {status.inode, status.birth_ns, status.generation};
}

RecoveryReport recover_image(ImageFile& image, bool adopt, const std::atomic<bool>* abandon, const LogSizes& sizes,
                             Background* lane, EngineEvents& events) {
  const Folder& folder = image.folder();
  const SiblingFiles siblings = list_siblings(folder, image.name());
  remove_scratch_files(folder, siblings);
  const FileStatus status = image.file().status();
  LogIndex index;
  LogCheck check{folder};
  LogScan scan =
      scan_into(image, siblings, O_RDWR, &index, sizes, events, [&](const std::vector<LogSegmentRef>& segments) {
        if (is_good_to_map(folder))
          for (const LogSegmentRef& segment : segments) segment->map();
        check.begin(segments, lane);
      });
  RecoveryReport report = report_of(scan, status);
  if (!report.log_found) return report;
  check_pair(scan, status, image.path(), boot_of(folder), report);
  if (report.problem && !(report.adoptable && adopt)) throw *report.problem;

  // From here on the log that counts says itself how the image is. Its own files may be those that go now.
  ImageNotes notes{folder, 0, status};
  const bool note_lasts = scan.segments.empty() || notes.resume(scan.segments.back(), scan.note,
                                                                scan.any_note ? scan.any_note->sequence : 0, status);
  // What lies after the cut goes first, newest first: once the log shrinks from the front, nothing of it may count.
  drop_behind_cut(folder, image.name(), scan, report);
  check.keep_only(scan.segments);
  check_abandoned(abandon, image.path());
  make_log_durable(folder, image.name(), scan, check, note_lasts, abandon, sizes);
  copy_into_image(image, scan, index, notes, abandon, events);
  check_not_cut(scan);
  keep_entry(image, scan, !report.problem);
  remove_segments(folder, scan.segments);
  report.replayed = true;
  report.image_pages = image.pages();
  return report;
}

RecoveryReport inspect_log(FileSystem& file_system, const std::string& path) {
  ImageFileOptions options;
  options.read_only = true;
  options.refuse_pending_log = false;
  const ImageFile image = ImageFile::open(file_system, path, options);
  const FileStatus status = image.file().status();
  const LogScan scan = scan_into(image, list_siblings(image.folder(), image.name()), O_RDONLY, nullptr);
  RecoveryReport report = report_of(scan, status);
  if (report.log_found) check_pair(scan, status, path, boot_of(image.folder()), report);
  if (!scan.entry_known) report.resumable = decode_entry(read_resume_file(image.folder(), image.name(), status).view());
  return report;
}

RecoveryReport recover_log(FileSystem& file_system, const std::string& path, bool adopt, EngineEvents& events) {
  ImageFileOptions options;
  options.create = false;
  options.refuse_pending_log = false;
  ImageFile image = ImageFile::open(file_system, path, options);
  return recover_image(image, adopt, nullptr, {}, nullptr, events);
}

RecoveryReport drop_log(FileSystem& file_system, const std::string& path) {
  ImageFileOptions options;
  options.create = false;
  options.refuse_pending_log = false;
  const ImageFile image = ImageFile::open(file_system, path, options);
  const SiblingFiles siblings = list_siblings(image.folder(), image.name());
  RecoveryReport report = report_of(scan_into(image, siblings, O_RDONLY, nullptr), image.file().status());
  if (!report.log_found) return report;
  report.pages = report.image_pages;
  set_log_aside(image.folder(), image.name(), report);
  remove_scratch_files(image.folder(), siblings);
  remove_resume_file(image.folder(), image.name());
  return report;
}

}  // namespace pageserver::storage
