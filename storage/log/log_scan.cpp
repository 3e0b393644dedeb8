#include "storage/log/log_scan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <memory>
#include <utility>

#include <pageserver/memory_provider.hpp>

#include "base/io_memory.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_checksum.hpp"

namespace pageserver::storage {
namespace {

using namespace log_format;

struct FoundSegment {
  LogSegmentRef segment;
  SegmentHeader header;
  Decoded decoded = Decoded::invalid;
  std::uint32_t other_version = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t marked_position = 0;  ///< from its mark: the image holds everything below; 0: it has no mark
  bool known_start = false;           ///< segment->first_position is known, from its own header or the next one's
  bool reused = false;   ///< its header is of an earlier segment in this file: a kill came before the new one
  bool earlier = false;  ///< it has records of an earlier segment
  bool later = false;    ///< it has whole records of this log behind the cut
};

MemoryError damaged(const std::string& path, const std::string& what) {
  return {Errc::damaged, "log " + quoted(path) + ": " + what};
}

class Scanner {
public:
  Scanner(const Folder& folder, std::string image_name, int open_flags,
          const std::function<void(const ScannedRecord&)>& apply,
          const std::function<void(const std::vector<LogSegmentRef>&)>& say_found, std::uint64_t part_bytes)
      : folder_{folder},
        image_name_{std::move(image_name)},
        open_flags_{open_flags},
        apply_{apply},
        say_found_{say_found},
        part_bytes_{part_bytes} {
    assert(part_bytes_ % record_alignment == 0);
  }

  LogScan run(std::span<const std::string> files) {
    for (const std::string& name : files) load(name);
    // Where the newest note is lost, an older one says nothing of later changes.
    if (!scan_.note_lost) scan_.note = scan_.any_note;
    for (const FoundSegment& found : found_) scan_.bytes += found.file_bytes;
    if (!found_.empty() && check_headers()) {
      for (const FoundSegment& found : found_)
        if (found.decoded == Decoded::valid) note_synced(found.header.synced_position);
      if (say_found_) say_found_(perhaps_not_synced());
      walk();
    }
    return std::move(scan_);
  }

private:
  void load(const std::string& name) {
    FoundSegment found;
    found.segment = std::make_shared<LogSegment>();
    found.segment->file = folder_.open_file(name, open_flags_, 0, "open log");
    found.segment->name = name;
    found.segment->number = parse_sibling_name(name)->number;
    found.file_bytes = found.segment->file.status().size_bytes;
    // A caller that opens the files for writing syncs them later: the disk may begin while the scan goes on.
    if ((open_flags_ & O_ACCMODE) != O_RDONLY)
      folder_.file_system().start_writeback(found.segment->file.descriptor(), 0, found.file_bytes);
    std::array<std::byte, segment_header_bytes> bytes{};
    const std::size_t length = found.segment->file.read_up_to(0, bytes);
    found.decoded = decode_segment_header(std::span{bytes}.first(length), found.header, found.other_version);
    if (found.decoded == Decoded::valid && found.header.number != found.segment->number) {
      found.decoded = Decoded::invalid;
      found.reused = found.header.number < found.segment->number;
    }
    SegmentMark mark;
    std::array<std::byte, mark_bytes> mark_encoded{};
    if (found.decoded == Decoded::valid) found.segment->layout = segment_layout(found.header.format);
    const std::size_t mark_length = found.segment->file.read_up_to(found.segment->layout.mark_at, mark_encoded);
    if (found.decoded == Decoded::valid &&
        decode_mark(std::span{mark_encoded}.first(mark_length), mark) == Decoded::valid &&
        mark.salt == found.header.salt) {
      found.marked_position = mark.position;
    }
    if (found.decoded == Decoded::valid) {
      found.segment->salt = found.header.salt;
      found.segment->first_position = found.header.first_position;
      found.known_start = true;
      const auto note = read_note(*found.segment);
      scan_.note_lost = !note && found.segment->layout.note_blocks != 0;
      if (note && (!scan_.any_note || scan_.any_note->sequence < note->sequence)) scan_.any_note = note;
    }
    found_.push_back(std::move(found));
  }

  bool problem(MemoryError error) {
    if (!scan_.problem) scan_.problem = std::move(error);
    return false;
  }

  /// Checks what the headers alone tell; false where that is a problem.
  bool check_headers() {
    for (const FoundSegment& found : found_) {
      if (found.decoded == Decoded::other_version)
        return problem({Errc::unsupported, "log " + quoted(found.segment->file.path()) + " has format " +
                                               std::to_string(found.other_version) +
                                               ", and this release knows the formats up to " +
                                               std::to_string(format_version) +
                                               "; open the image once with the release that wrote the log"});
      if (found.decoded != Decoded::valid) continue;
      if (!scan_.first) scan_.first = found.header;
      if (found.header.salt != scan_.first->salt || found.header.image != scan_.first->image)
        return problem(damaged(found.segment->file.path(),
                               "its header belongs to another log than that of the segments before it; restore the "
                               "image and its log together from a copy"));
    }
    for (std::size_t i = 0; i + 1 < found_.size(); ++i) {
      const FoundSegment& next = found_[i + 1];
      if (found_[i].known_start || next.decoded != Decoded::valid ||
          next.segment->number != found_[i].segment->number + 1)
        continue;
      found_[i].segment->first_position = next.header.previous_first_position;
      found_[i].known_start = true;
    }
    if (found_.front().segment->number == 1) found_.front().known_start = true;
    return true;
  }

  /// Whether the segments before the first one were removed because the image has them. Else they were lost with their
  /// directory entries. A mark in this segment or a later one says so.
  bool may_be_first() const {
    const FoundSegment& first = found_.front();
    if (first.segment->number == 1) return true;
    return std::any_of(found_.begin(), found_.end(), [&](const FoundSegment& found) {
      return found.marked_position >= first.header.first_position && found.header.salt == first.header.salt &&
             found.marked_position != 0;
    });
  }

  std::vector<LogSegmentRef> perhaps_not_synced() const {
    std::vector<LogSegmentRef> segments;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (found_[i].decoded != Decoded::valid) continue;
      const bool synced = i + 1 < found_.size() && found_[i + 1].decoded == Decoded::valid &&
                          found_[i + 1].header.first_position <= scan_.synced_position;
      if (!synced) segments.push_back(found_[i].segment);
    }
    return segments;
  }

  void walk() {
    scan_.end_position = found_.front().segment->first_position;
    std::size_t index = 0;
    std::uint64_t offset = found_.front().segment->layout.records_at;  // of what comes next in segment `index`
    const bool cut = found_.front().decoded != Decoded::valid || !may_be_first();
    if (cut) {
      offset = 0;
    } else {
      version_ = scan_.first->version;
      scan_.pages = scan_.first->pages;
      scan_.image_bytes_min = scan_.first->image_bytes;
      scan_.end_position += offset;
      scan_.entry = scan_.first->entry;
      scan_.entry_known = scan_.first->number != 1;
    }
    while (!cut) {
      FoundSegment& found = found_[index];
      if (adjoins(index, offset)) {
        found.segment->end_position = found.segment->first_position + offset;
        ++index;
        offset = found_[index].segment->layout.records_at;
        scan_.end_position = found_[index].segment->first_position + offset;
        continue;
      }
      ScannedRecord record;
      if (!read_next_record(found, offset, record)) break;
      note_synced(record.header.synced_position);
      version_ = record.header.version;
      scan_.pages = record.header.pages;
      ++scan_.records;
      scan_.entry.assign(record.entry);
      scan_.entry_known = true;
      offset += record_bytes(record.header.payload_bytes);
      scan_.end_position = found.segment->first_position + offset;
      apply_(record);
    }
    found_[index].segment->end_position = scan_.end_position;
    scan_.version = version_;
    look_beyond(index, offset);
    judge(index, offset);
    const std::size_t counting = cut ? 0 : index + 1;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (i < counting)
        scan_.segments.push_back(found_[i].segment);
      else
        beyond(found_[i]);
      if (i >= index)
        scan_.tail_bytes += found_[i].file_bytes - std::min(i == index ? offset : 0, found_[i].file_bytes);
    }
  }

  void beyond(const FoundSegment& found) {
    const std::string name = file_name(found.segment->file.path());
    scan_.beyond.push_back(name);
    const bool old_header = found.reused && scan_.first && found.header.salt == scan_.first->salt;
    const bool old_records = found.decoded != Decoded::valid && found.earlier && !found.later;
    if (old_header || old_records) scan_.reused.push_back(name);
  }

  bool adjoins(std::size_t index, std::uint64_t offset) const {
    if (index + 1 == found_.size()) return false;
    const FoundSegment& next = found_[index + 1];
    return next.decoded == Decoded::valid && next.segment->number == found_[index].segment->number + 1 &&
           next.header.first_position == found_[index].segment->first_position + offset &&
           next.header.version == version_ && next.header.pages == scan_.pages;
  }

  void note_synced(std::uint64_t position) { scan_.synced_position = std::max(scan_.synced_position, position); }

  bool plausible(const RecordHeader& header, const FoundSegment& found, std::uint64_t offset) const {
    const std::uint64_t room = found.file_bytes - offset;
    return header.salt == scan_.first->salt && header.position == found.segment->first_position + offset &&
           header.synced_position <= header.position && header.payload_bytes <= room &&
           record_bytes(header.payload_bytes) <= room;
  }

  /// Looks for a record at `offset`, and then at the next block: a record begins a new block where a sync had begun.
  bool read_next_record(const FoundSegment& found, std::uint64_t& offset, ScannedRecord& record) {
    if (read_record(found, offset, record)) return true;
    if (!found.segment->layout.new_blocks || block_from(offset) == offset) return false;
    record = {};
    if (!read_record(found, block_from(offset), record)) return false;
    offset = block_from(offset);
    return true;
  }

  bool read_record(const FoundSegment& found, std::uint64_t offset, ScannedRecord& record) {
    const File& file = found.segment->file;
    if (offset >= found.file_bytes) return false;
    std::array<std::byte, record_header_bytes> bytes;
    if (file.read_up_to(offset, bytes) != bytes.size()) return false;
    if (decode_record_header(bytes, record.header) != Decoded::valid) return false;
    const RecordHeader& header = record.header;
    if (!plausible(header, found, offset) || header.version != version_ + 1 || header.pages < scan_.pages) return false;
    std::vector<std::byte>& table = table_;
    const bool whole = has_payload(file, offset, header, table);
    const std::uint64_t table_bytes = table.size();
    const bool believed = mutated(Mutation::skip_payload_checksum) ||
                          (mutated(Mutation::skip_long_checksum) && header.payload_bytes - table_bytes > part_bytes_);
    if (!whole && !believed) return false;
    record.data_position = header.position + record_header_bytes + table_bytes;
    record.entry = std::span{table}.last(header.entry_bytes);
    return read_ranges(table, record);
  }

  /// Whether the payload behind the header at `offset` has the checksum that the header states; `table` gets its
  /// ranges and its resume entry. The caller has checked that the file is long enough.
  bool has_payload(const File& file, std::uint64_t offset, const RecordHeader& header, std::vector<std::byte>& table) {
    LogChecksum checksum;
    table.resize(header.range_count * range_bytes + header.entry_bytes);
    std::uint64_t at = offset + record_header_bytes;
    file.read(at, table);
    checksum.add(table);
    at += table.size();
    chunk_.resize(std::max<std::size_t>(chunk_.size(), std::min(header.payload_bytes, part_bytes_)));
    for (std::uint64_t rest = header.payload_bytes - table.size(); rest != 0;) {
      const std::span<std::byte> part{chunk_.data(), std::min<std::uint64_t>(rest, chunk_.size())};
      file.read(at, part);
      checksum.add(part);
      at += part.size();
      rest -= part.size();
    }
    return checksum.value() == header.payload_checksum;
  }

  static bool read_ranges(std::span<const std::byte> table, ScannedRecord& record) {
    const std::uint64_t size = record.header.pages > ~0ull / page_size ? 0 : record.header.pages * page_size;
    std::uint64_t data_bytes = 0;
    for (std::uint32_t i = 0; i < record.header.range_count; ++i) {
      const LogRange range =
          decode_range(std::span<const std::byte, range_bytes>{table.data() + i * range_bytes, range_bytes});
      if (range.length > size || range.offset > size - range.length) return false;
      if (!range.zero) data_bytes += range.length;
      record.ranges.push_back(range);
    }
    return data_bytes == record.header.payload_bytes - table.size();
  }

  /// Looks for records after the cut. They don't count, but the synced positions that they state do.
  void look_beyond(std::size_t index, std::uint64_t offset) {
    for (std::size_t i = index; i < found_.size(); ++i) {
      FoundSegment& found = found_[i];
      look_for_records(found, i == index ? offset : 0);
      if (i == index) scan_.dropped_in_last = scan_.dropped_records != 0;
    }
  }

  void look_for_records(FoundSegment& found, std::uint64_t offset) {
    // Without a header the format is not known: the search begins where records begin in any format.
    offset = std::max<std::uint64_t>(
        offset, found.decoded == Decoded::valid ? found.segment->layout.records_at : format_1_records_at);
    if (offset >= found.file_bytes) return;
    bool guessed = false;  // the segment's start was computed from a record
    const std::uint64_t overlap = mutated(Mutation::scan_within_parts) ? 0 : record_header_bytes;
    base::IoBytes bytes(std::min(part_bytes_, found.file_bytes - offset) + overlap);
    for (; offset < found.file_bytes; offset += part_bytes_) {
      const std::size_t length = found.segment->file.read_up_to(offset, bytes);
      for (std::size_t at = 0; at + record_header_bytes <= length && at < part_bytes_; at += record_alignment) {
        RecordHeader header;
        // The magic first, since nearly all of these places hold no record.
        if (bytes[at] != std::byte{0x50} || bytes[at + 1] != std::byte{0x53}) continue;
        if (decode_record_header(std::span{bytes}.subspan(at, record_header_bytes), header) != Decoded::valid) continue;
        if (scan_.first && header.salt != scan_.first->salt) continue;
        if (header.position < offset + at || header.synced_position > header.position) continue;
        if (header.position < scan_.end_position) found.earlier = true;
        const std::uint64_t start = header.position - (offset + at);
        if (found.known_start && start != found.segment->first_position) continue;
        if (!found.known_start) {
          // The file may still have records of an earlier segment, with lower positions: the highest start holds.
          found.segment->first_position = guessed ? std::max(found.segment->first_position, start) : start;
          guessed = true;
        }
        note_synced(header.synced_position);
        if (header.position < scan_.end_position || !is_whole(found, offset + at, header)) continue;
        found.later = true;
        ++scan_.dropped_records;
      }
    }
    found.known_start = found.known_start || guessed;
  }

  /// Whether a record behind the cut is there as a whole. A header without its payload is the torn end of a log, since
  /// a kill may end the writing of a record anywhere. Records that an earlier segment left in the file don't count
  /// either.
  bool is_whole(const FoundSegment& found, std::uint64_t offset, const RecordHeader& header) {
    const std::uint64_t room = found.file_bytes - offset;
    if (found.reused || header.payload_bytes > room || record_bytes(header.payload_bytes) > room) return false;
    std::vector<std::byte> table;
    return has_payload(found.segment->file, offset, header, table);
  }

  /// Tells damage from a torn tail: see the top of log_scan.hpp.
  void judge(std::size_t index, std::uint64_t offset) {
    const FoundSegment& found = found_[index];
    const std::string& path = found.segment->file.path();
    const std::string remedy =
        "; restore the image and its log together from a copy, or use the image without what the log holds by "
        "`pagectl recover --drop-log " +
        folder_.path_of(image_name_) + "`, which keeps its files under other names";
    if (!found.known_start) {
      // Only of the last segment the start may be unknown: of others the next header states it.
      if (index + 1 < found_.size() && scan_.synced_position != 0)
        problem(damaged(path, "its header can't be read, and later segments follow it" + remedy));
      return;
    }
    if (found.decoded == Decoded::valid && offset == 0) {
      // The segment before is missing. If nothing in it was synced, a loss of power may have taken it.
      if (scan_.synced_position > found.header.previous_first_position)
        problem(damaged(path, "the segment before it is missing, although everything below position " +
                                  std::to_string(scan_.synced_position) + " was synced" + remedy));
      return;
    }
    const std::uint64_t cut = found.segment->first_position + offset;
    if (scan_.synced_position <= cut) return;
    const std::string next = found.decoded != Decoded::valid ? "the header" : "the record";
    problem(damaged(path, next + " at byte " + std::to_string(offset) + " (log position " + std::to_string(cut) +
                              ") can't be read, although everything below position " +
                              std::to_string(scan_.synced_position) + " was synced: the disk lost or changed it" +
                              remedy));
  }

  const Folder& folder_;
  const std::string image_name_;
  const int open_flags_;
  const std::function<void(const ScannedRecord&)>& apply_;
  const std::function<void(const std::vector<LogSegmentRef>&)>& say_found_;
  const std::uint64_t part_bytes_;
  std::vector<FoundSegment> found_;
  std::uint64_t version_ = 0;
  std::vector<std::byte> chunk_;
  std::vector<std::byte> table_;  ///< of the record in hand
  LogScan scan_;
};

}  // namespace

LogScan scan_log(const Folder& folder, const std::string& image_name, std::span<const std::string> files,
                 int open_flags, const std::function<void(const ScannedRecord&)>& apply, const LogSizes& sizes,
                 const std::function<void(const std::vector<LogSegmentRef>&)>& found) {
  return Scanner{folder, image_name, open_flags, apply, found, sizes.part_bytes}.run(files);
}

}  // namespace pageserver::storage
