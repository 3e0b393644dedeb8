#include "storage/log/log_segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <limits>
#include <utility>

#include "base/bytes.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/log/image_note.hpp"
#include "storage/log/log_checksum.hpp"

namespace pageserver::storage {
namespace {

using namespace log_format;

// A rest of less than this part of a segment is not given back to the disk.
constexpr std::uint64_t small_rest = 32;
constexpr std::size_t kept_buffer_bytes_max = 1ull << 20;

bool is_no_room(int error) noexcept { return error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE; }

constexpr std::uint64_t segment_bytes_min = block_from(segment_records_at);
// write_ahead() writes zeros in pieces of segment_bytes / ahead_part, at most ahead_bytes_max, before records of at
// most 1 / ahead_record_part of a piece: for larger records the zeros cost more than the syncs save. On ext4 a sync of
// 4 KiB takes 140 to 170 us with it, and 200 to 270 us without.
constexpr std::uint64_t ahead_part = 128;
constexpr std::uint64_t ahead_bytes_max = 256u << 10;
constexpr std::uint64_t ahead_record_part = 8;

void note_size(LogSegment& segment, std::uint64_t bytes) noexcept {
  if (segment.file_bytes < bytes) segment.file_bytes = bytes;
}

/// To be called before anything is appended at `[offset, end)`. A file that was cut stays smaller than `file_bytes`
/// until something reaches to there, and whoever looks sees it: so each publish need not look. True: this one does
/// reach to there, and LogWriter::check_after_growth() has to look behind it. What was appended within `file_bytes` was
/// not looked at, so this looks first where there may be such a part; else the look behind is enough.
bool check_before_growth(LogSegment& segment, std::uint64_t offset, std::uint64_t end) {
  if (end < segment.file_bytes && end <= segment.blocks_written) return false;
  if (offset < segment.file_bytes) static_cast<void>(look_for_cut(segment));
  if (segment.cut) throw cut_error(segment, "append");
  return true;
}

/// Gives back what the file has from `offset` on. False where that fails, or somebody else cut the file: then it stays
/// as it is, since this would make it as large as it was, with zeros.
bool cut_off(LogSegment& segment, std::uint64_t offset) noexcept {
  if (!look_for_cut(segment) || segment.cut) return false;
  segment.file_bytes = std::min<std::uint64_t>(segment.file_bytes, offset);
  return segment.file.file_system().truncate(segment.file.descriptor(), offset).ok();
}

}  // namespace

void LogSegment::map() {
  if (!mapped_.empty() || !mapped_reads_enabled()) return;
  const std::uint64_t bytes = file.status().size_bytes;
  mapping_ = std::make_unique<MappedFile>(file, bytes);
  if (const std::byte* const begin = mapping_->address(bytes / 2)) mapped_ = {begin, bytes};  // it maps twice as much
}

void LogSegment::unmap() noexcept {
  mapped_ = {};
  mapping_.reset();
}

void LogSegment::read(std::uint64_t position, std::span<std::byte> into, const File::Deadline& deadline) const {
  const std::uint64_t offset = offset_of(position);
  const bool within = offset <= mapped_.size() && into.size() <= mapped_.size() - offset;
  if (!within || !read_mapped(mapped_.data() + offset, into)) file.read(offset, into, deadline);
  if (cut) throw cut_error(*this, "read");  // what was cut reads as zeros once something was appended behind it
}

std::optional<std::uint64_t> look_for_cut(LogSegment& segment) noexcept {
  for (;;) {
    const std::uint64_t needed = segment.file_bytes;
    const IoResult size = retried([&] { return segment.file.file_system().size(segment.file.descriptor()); });
    if (!size.ok()) return {};
    const auto held = static_cast<std::uint64_t>(size.value);
    if (held >= needed) return held;
    // Its writer may have made it smaller meanwhile, and says so before it does.
    if (segment.file_bytes == needed) segment.cut = true;
    if (segment.cut) return held;
  }
}

MemoryError cut_error(const LogSegment& segment, std::string_view action) {
  return {Errc::damaged,
          std::string{action} + ": the file " + quoted(segment.file.path()) +
              " of the log was emptied or cut by somebody, so that what it held is lost; the log is kept "
              "as it is, and `pagectl recover --drop-log` goes on without it"};
}

void mark_segment(LogSegment& segment) {
  if (segment.marked) return;
  std::array<std::byte, mark_bytes> encoded;
  encode_mark({segment.salt, segment.first_position}, encoded);
  segment.file.write(segment.layout.mark_at, encoded);
  if (!mutated(Mutation::drop_mark_sync)) segment.file.sync_data();
  segment.marked = true;
}

LogWriter::LogWriter(Folder folder, Options options) : folder_{std::move(folder)}, options_{std::move(options)} {}

LogWriter::Appended LogWriter::append(const LogAppend& record, std::uint64_t image_bytes,
                                      std::uint64_t previous_version, std::uint64_t previous_pages) {
  try {
    return try_to_append(record, image_bytes, previous_version, previous_pages, options_.segment_bytes);
  } catch (const MemoryError& error) {
    if (error.errc() != Errc::no_space) throw;
  }
  // No room: what the log has reserved and does not need yet is given back, and the record is tried once more.
  static_cast<void>(give_back_spares());
  static_cast<void>(give_back_tail());
  return try_to_append(record, image_bytes, previous_version, previous_pages, 0);
}

LogWriter::Appended LogWriter::try_to_append(const LogAppend& record, std::uint64_t image_bytes,
                                             std::uint64_t previous_version, std::uint64_t previous_pages,
                                             std::uint64_t new_segment_bytes) {
  if (record.ranges.size() > std::numeric_limits<std::uint32_t>::max())
    throw MemoryError{Errc::limit_exceeded, "publish of " + std::to_string(record.ranges.size()) +
                                                " ranges exceeds 4294967295 ranges in one transaction; flush earlier"};
  RecordHeader header;
  header.salt = options_.salt;
  header.version = record.version;
  header.synced_position = record.synced_position;
  header.pages = record.pages;
  header.entry_bytes = static_cast<std::uint32_t>(record.entry.size());
  header.payload_bytes = payload_bytes_of(record.ranges) + record.entry.size();
  header.range_count = static_cast<std::uint32_t>(record.ranges.size());
  const std::uint64_t bytes = record_bytes(header.payload_bytes);

  Appended appended;
  LogSegment* segment = current_.get();
  const std::uint64_t end = current_ ? current_->offset_of(end_position_) : 0;
  const bool pads = record.new_block && !mutated(Mutation::share_synced_block);
  const std::uint64_t place = pads ? block_from(end) : end;
  const bool behind_rest = torn_rest_ && place != end;
  std::uint64_t segment_bytes = 0;
  if (!segment || segment_failed_ || behind_rest || place + bytes > current_bytes_) {
    const std::uint64_t bytes_min = segment_records_at + bytes;
    segment_bytes = std::max(new_segment_bytes, bytes_min);
    appended.new_segment = make_segment(
        next_header(record.synced_position, image_bytes, previous_version, previous_pages), bytes_min, segment_bytes);
    segment = appended.new_segment.get();
  }
  header.position = appended.new_segment ? end_position_ + segment_records_at : current_->first_position + place;
  const std::uint64_t offset = segment->offset_of(header.position);
  const LastByte before = appended.new_segment ? header_byte : current_last_;
  LastByte last;
  bool writes = false;
  try {
    if (record.before_write) record.before_write();
    const bool grows = options_.on_a_disk && check_before_growth(*segment, offset, offset + bytes);
    writes = true;
    write_ahead(*segment, appended.new_segment ? segment_bytes : current_bytes_, offset, bytes);
    last = write_record(*segment, record, header);
    if (grows) check_after_growth(*segment, before);
    note_size(*segment, offset + bytes);
  } catch (...) {
    // Gives back the room of the torn record. A failure here changes nothing: the rest is no record in any case.
    if (appended.new_segment) {
      if (options_.notes != nullptr) options_.notes->forget_segment();
      segment_left_ = !give_up(segment->name);
    } else if (writes) {
      torn_rest_ = !cut_off(*segment, offset);
      segment->blocks_written = std::min(segment->blocks_written, block_from(offset));
    }
    throw;
  }
  if (appended.new_segment) go_on_in(appended.new_segment, segment_bytes);
  current_last_ = last;
  torn_rest_ = false;
  end_position_ = header.position + bytes;
  appended.data_position =
      header.position + record_header_bytes + record.ranges.size() * range_bytes + record.entry.size();
  last_entry_.assign(mutated(Mutation::forget_entry) ? std::span<const std::byte>{} : record.entry);
  appended.end_position = end_position_;
  return appended;
}

SegmentHeader LogWriter::next_header(std::uint64_t synced_position, std::uint64_t image_bytes, std::uint64_t version,
                                     std::uint64_t pages) const {
  SegmentHeader header;
  header.salt = options_.salt;
  header.number = next_number_;
  header.first_position = end_position_;
  header.synced_position = synced_position;
  header.version = version;
  header.pages = pages;
  header.image_bytes = image_bytes;
  header.image = options_.image;
  header.entry = last_entry_;
  header.previous_first_position = current_ ? current_->first_position : end_position_;
  return header;
}

// Nothing is appended to the segment before any more: the rest of its room is given back. A small rest stays, since a
// spare file would have to reserve it again.
void LogWriter::go_on_in(LogSegmentRef segment, std::uint64_t bytes) noexcept {
  if (current_ && current_->offset_of(end_position_) + options_.segment_bytes / small_rest < current_bytes_)
    static_cast<void>(give_back_tail());
  segment_failed_ = segment_left_ = false;
  if (options_.notes != nullptr) options_.notes->keep_segment();
  current_ = std::move(segment);
  current_bytes_ = bytes;
  ++next_number_;
}

// Cuts at whole blocks, since a block that is cut is written again. Two calls: truncating a file to a larger size gives
// back nothing, and the second call has the same size as the first.
bool LogWriter::give_back_tail() noexcept {
  const std::uint64_t end = current_ ? block_from(current_->offset_of(end_position_)) : 0;
  if (end >= current_bytes_) return false;
  for (int times = 0; times < 2; ++times)
    if (!cut_off(*current_, end)) return false;
  current_bytes_ = end;
  current_->blocks_written = std::min(current_->blocks_written, end);
  return true;
}

LogWriter::Appended LogWriter::begin_segment(std::uint64_t synced_position, std::uint64_t image_bytes,
                                             std::uint64_t version, std::uint64_t pages) {
  Appended appended;
  std::uint64_t bytes = segment_bytes_min;
  appended.new_segment =
      make_segment(next_header(synced_position, image_bytes, version, pages), segment_bytes_min, bytes);
  go_on_in(appended.new_segment, bytes);
  current_last_ = header_byte;
  torn_rest_ = false;
  end_position_ = appended.new_segment->end_position;
  appended.data_position = appended.end_position = end_position_;
  return appended;
}

bool LogWriter::wants(const LogSegment& segment, std::size_t segments) {
  FileStatus status;
  const std::string spare = spare_name(options_.image_name, segment.number);
  const auto there = retried([&] { return folder_.file_system().status_beneath(folder_.descriptor(), spare, status); });
  if (there.error != ENOENT && !S_ISREG(status.mode)) return false;  // somebody else's: a rename would replace it
  const Lock lock{spares_mutex_};
  spares_.reserve(spares_.size() + 1);
  const std::uint64_t length = segment.end_position - segment.first_position;
  return segments + spares_.size() < options_.files_max && length <= options_.segment_bytes;
}

void LogWriter::keep_spare(LogSegmentRef segment) noexcept {
  const Lock lock{spares_mutex_};
  spares_.push_back(std::move(segment));
}

void LogWriter::drop_spares() {
  std::vector<LogSegmentRef> kept;
  {
    const Lock lock{spares_mutex_};
    kept.reserve(spares_.size());
  }
  std::exception_ptr error;
  while (LogSegmentRef spare = last_spare()) {
    try {
      folder_.remove(spare_name(options_.image_name, spare->number));
    } catch (const MemoryError&) {
      if (!error) error = std::current_exception();
      kept.push_back(std::move(spare));
    }
  }
  for (LogSegmentRef& spare : kept) keep_spare(std::move(spare));
  if (error) std::rethrow_exception(error);
}

bool LogWriter::give_back_spares() noexcept {
  bool some = false;
  while (const LogSegmentRef spare = last_spare()) {
    some = true;
    try {
      static_cast<void>(give_up(spare_name(options_.image_name, spare->number)));
    } catch (const std::bad_alloc&) {
      folder_.leave_names();
    }
  }
  return some;
}

// pop_back() keeps the vector's memory: keep_spare() relies on what wants() has reserved.
LogSegmentRef LogWriter::last_spare() noexcept {
  const Lock lock{spares_mutex_};
  if (spares_.empty()) return nullptr;
  LogSegmentRef spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void LogWriter::drop_failed_segment() {
  if (!segment_failed_ && !gave_up_) return;
  // Also a failed segment whose removal was never tried, for want of memory.
  if ((segment_failed_ || segment_left_) && !mutated(Mutation::forget_failed_segment))
    folder_.remove(segment_name(options_.image_name, next_number_));
  segment_left_ = false;
  folder_.sync();
}

bool LogWriter::give_up(const std::string& name) noexcept {
  gave_up_ = true;
  const auto removed = retried([&] { return folder_.file_system().remove_beneath(folder_.descriptor(), name); });
  if (removed.ok() || removed.error == ENOENT) return true;
  folder_.leave_names();
  return false;
}

// Goes on with the open file, and does not open the new name: where others may write to the folder, the name may lead
// to another file by now.
bool LogWriter::take_spare(LogSegment& segment) {
  FileStatus status;
  if (folder_.has(segment.name, status) && !S_ISREG(status.mode))
    throw not_ours_error(folder_, segment.name, "create log", status);
  std::string path = folder_.path_of(segment.name);
  std::string spare_was;
  LogSegmentRef spare;
  {
    const Lock lock{spares_mutex_};
    const auto unused =
        std::find_if(spares_.begin(), spares_.end(), [](const auto& one) { return one.use_count() == 1; });
    if (unused == spares_.end()) return false;
    spare_was = spare_name(options_.image_name, (*unused)->number);
    // From here on nothing throws: the spare file is either used or given up.
    spare = std::move(*unused);
    spares_.erase(unused);
  }
  if (!folder_.try_rename(spare_was, segment.name).ok()) {
    // If it can't be removed either, it is a scratch file, which the close removes.
    static_cast<void>(give_up(spare_was));
    return false;
  }
  segment.file = {std::move(spare->file), std::move(path)};
  // Whoever cut it as a spare file did no harm.
  if (segment.file.file_system().status(segment.file.descriptor(), status).ok()) {
    segment.file_bytes = status.size_bytes;
    segment.blocks_written = std::min(spare->blocks_written, block_from(status.size_bytes));
  }
  return true;
}

File LogWriter::create_segment(const std::string& name) {
  std::string path = folder_.path_of(name);
  IoResult created;
  do {
    created = folder_.try_create_file(name, options_.file_mode, "create log");
  } while (!created.ok() && is_no_room(created.error) && give_back_spares());
  if (created.ok()) return {folder_.file_system(), static_cast<int>(created.value), std::move(path)};
  const MemoryError error = file_error(folder_.file_system(), "create log", path, created.error);
  if (is_no_room(created.error)) throw NoRoomError{error};
  throw error;
}

// On a full disk spare files are removed first; then the segment becomes smaller, until a checkpoint makes room.
void LogWriter::reserve_segment(const File& file, std::uint64_t bytes_min, std::uint64_t& bytes) {
  for (;;) {
    try {
      file.reserve(0, bytes);
      return;
    } catch (const MemoryError& error) {
      if (error.errc() != Errc::no_space) throw;
      // Some file systems keep the blocks that a failed reservation got: a truncation to the same size gives them back.
      FileStatus status;
      if (file.file_system().status(file.descriptor(), status).ok())
        static_cast<void>(file.file_system().truncate(file.descriptor(), status.size_bytes));
      if (give_back_spares()) continue;
      if (bytes == bytes_min && !give_back_tail()) throw NoRoomError{error};
      bytes = std::max(bytes_min, bytes / 2);
    }
  }
}

LogSegmentRef LogWriter::make_segment(const SegmentHeader& header, std::uint64_t bytes_min, std::uint64_t& bytes) {
  auto segment = std::make_shared<LogSegment>();
  if (header.number > sibling_number_max)
    throw MemoryError{Errc::limit_exceeded, "the log of " + quoted(options_.image_name) + " has had all " +
                                                std::to_string(sibling_number_max) +
                                                " names of its files; close the store and open it again"};
  segment->name = segment_name(options_.image_name, header.number);
  segment->number = header.number;
  segment->first_position = header.first_position;
  segment->end_position = header.first_position + segment_records_at;
  segment->salt = header.salt;
  const bool used_before = take_spare(*segment);
  if (!used_before) segment->file = create_segment(segment->name);
  try {
    reserve_segment(segment->file, bytes_min, bytes);
    // From here on a recovery may find the segment, and go on there.
    segment_failed_ = true;
    std::array<std::byte, segment_records_at> encoded{};
    encode_segment_header(header, std::span{encoded}.first<segment_header_bytes>());
    if (options_.notes != nullptr)
      options_.notes->begin_segment(segment, encoded);
    else
      segment->file.write(0, std::span{encoded}.first(used_before ? segment_records_at : segment_header_bytes));
  } catch (...) {
    segment_left_ = !give_up(segment->name);
    throw;
  }
  note_size(*segment, options_.notes != nullptr || used_before ? segment_records_at : segment_header_bytes);
  return segment;
}

void LogWriter::write_ahead(LogSegment& segment, std::uint64_t segment_bytes, std::uint64_t offset,
                            std::uint64_t bytes) {
  static std::array<std::byte, ahead_bytes_max>
      zeros{};  // not const: a const array would be stored in the program file
  const std::uint64_t piece = std::min(ahead_bytes_max, block_from(options_.segment_bytes / ahead_part));
  const std::uint64_t from = std::max(segment.blocks_written, offset / block_bytes * block_bytes);
  const bool wanted =
      options_.on_a_disk && offset + bytes > segment.blocks_written && bytes <= piece / ahead_record_part;
  if (wanted && from + piece <= segment_bytes) {
    segment.file.write(from, std::span<const std::byte>{zeros}.first(piece));
    segment.blocks_written = from + piece;
    note_size(segment, from + piece);
  }
  segment.blocks_written = std::max(segment.blocks_written, block_from(offset + bytes));
}

void LogWriter::LastByte::note(std::uint64_t at, std::span<const std::byte> bytes) noexcept {
  const std::size_t length = base::bytes_without_zeros_at_end(bytes);
  if (length != 0) *this = {at + length - 1, bytes[length - 1]};
}

void LogWriter::check_after_growth(LogSegment& segment, LastByte before) {
  std::byte now{0};
  try {
    segment.file.read(before.offset, std::span{&now, 1});
    if (now != before.value) segment.cut = true;
  } catch (const std::exception&) {
    // It may end before that byte. Else nothing was learned: the record is whole by now, and a recovery would take it,
    // so that it can't be refused any more.
    static_cast<void>(look_for_cut(segment));
  }
  if (segment.cut) throw cut_error(segment, "append");
}

LogWriter::LastByte LogWriter::write_record(LogSegment& segment, const LogAppend& record, RecordHeader& header) {
  const std::uint64_t bytes = record_bytes(header.payload_bytes);
  const std::uint64_t ranges_bytes = record.ranges.size() * range_bytes;
  const std::uint64_t table_bytes = ranges_bytes + record.entry.size();  // with the entry, which comes before the data
  // A record that is written in parts gets its header last: until then a recovery sees no record.
  const bool one_write = bytes <= options_.sizes.one_write_bytes_max;
  const bool gathers = one_write && !record.parts.empty() && header.payload_bytes >= options_.sizes.gathered_bytes_min;
  const std::uint64_t whole = one_write && !gathers ? bytes : record_header_bytes + table_bytes;
  if (buffer_.size() < whole) buffer_.resize(whole);
  const std::span<std::byte> buffer{buffer_.data(), whole};
  for (std::size_t i = 0; i < record.ranges.size(); ++i)
    encode_range(record.ranges[i],
                 std::span<std::byte, range_bytes>{buffer.data() + record_header_bytes + i * range_bytes, range_bytes});
  std::copy(record.entry.begin(), record.entry.end(),
            buffer.begin() + static_cast<std::ptrdiff_t>(record_header_bytes + ranges_bytes));
  LastByte last;
  if (gathers) {
    last = write_gathered(segment, record, header, buffer);
  } else if (one_write) {
    const std::uint64_t payload_end = record_header_bytes + header.payload_bytes;
    if (header.payload_bytes > table_bytes)
      record.data(0, buffer.subspan(record_header_bytes + table_bytes, header.payload_bytes - table_bytes));
    std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(payload_end), buffer.end(), std::byte{0});
    header.payload_checksum = log_checksum(buffer.subspan(record_header_bytes, header.payload_bytes));
    encode_record_header(header, buffer.first<record_header_bytes>());
    segment.file.write(segment.offset_of(header.position), buffer);
    last.note(segment.offset_of(header.position), buffer);
  } else {
    last = write_in_parts(segment, record, header, buffer_, table_bytes);
  }
  if (buffer_.size() > kept_buffer_bytes_max) {
    buffer_.clear();
    buffer_.shrink_to_fit();
  }
  return last;
}

LogWriter::LastByte LogWriter::write_gathered(const LogSegment& segment, const LogAppend& record, RecordHeader& header,
                                              std::span<std::byte> start) {
  static constexpr std::array<std::byte, record_alignment> zeros{};
  std::vector<std::span<const std::byte>> parts;
  parts.reserve(record.parts.size() + 2);
  parts.push_back(start);
  LogChecksum checksum;
  checksum.add(start.subspan(record_header_bytes));
  for (const auto& part : record.parts) {
    checksum.add(part);
    parts.push_back(part);
  }
  const std::uint64_t padding = record_bytes(header.payload_bytes) - record_header_bytes - header.payload_bytes;
  if (padding != 0) parts.push_back(std::span{zeros}.first(padding));
  header.payload_checksum = checksum.value();
  encode_record_header(header, start.first<record_header_bytes>());
  segment.file.write_parts(segment.offset_of(header.position), parts);
  LastByte last;
  std::uint64_t offset = segment.offset_of(header.position + record_bytes(header.payload_bytes));
  for (auto part = parts.rbegin(); part != parts.rend() && last.value == std::byte{0}; ++part) {
    offset -= part->size();
    last.note(offset, *part);
  }
  return last;
}

LogWriter::LastByte LogWriter::write_in_parts(LogSegment& segment, const LogAppend& record, RecordHeader& header,
                                              std::vector<std::byte>& start, std::uint64_t table_bytes) {
  LogChecksum checksum;
  const std::span<const std::byte> table{start.data() + record_header_bytes, table_bytes};
  checksum.add(table);
  const std::uint64_t payload_at = segment.offset_of(header.position) + record_header_bytes;
  segment.file.write(payload_at, table);
  const std::uint64_t data_bytes = header.payload_bytes - table_bytes;
  const std::uint64_t part_bytes = options_.sizes.part_bytes;
  std::vector<std::byte> part(part_bytes);
  LastByte last;
  last.note(payload_at, table);
  for (std::uint64_t done = 0; done < data_bytes;) {
    const std::span<std::byte> now{part.data(), std::min<std::uint64_t>(part_bytes, data_bytes - done)};
    record.data(done, now);
    checksum.add(now);
    segment.file.write(payload_at + table_bytes + done, now);
    check_after_growth(segment, last);
    last.note(payload_at + table_bytes + done, now);
    done += now.size();
  }
  const std::uint64_t padding = record_bytes(header.payload_bytes) - record_header_bytes - header.payload_bytes;
  if (padding != 0) {
    const std::array<std::byte, record_alignment> zeros{};
    segment.file.write(payload_at + header.payload_bytes, std::span{zeros}.first(padding));
  }
  header.payload_checksum = checksum.value();
  std::array<std::byte, record_header_bytes> encoded;
  encode_record_header(header, encoded);
  segment.file.write(segment.offset_of(header.position), encoded);
  return last;
}

}  // namespace pageserver::storage
