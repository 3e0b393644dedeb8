#include "storage/log/log_codec.hpp"

#include <algorithm>
#include <cstring>

#include "storage/log/log_checksum.hpp"
#include "storage/log/log_numbers.hpp"

namespace pageserver::storage {
namespace {

using namespace log_format;

bool all_zero(std::span<const std::byte> bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

bool is_entry_size(std::uint32_t bytes) noexcept {
  return bytes == 0 ||
         (bytes >= entry_fixed_bytes && bytes <= entry_bytes_max && (bytes - entry_fixed_bytes) % outcome_bytes == 0);
}

}  // namespace

SegmentLayout segment_layout(std::uint32_t format) noexcept {
  if (format == 1) return {format_1_mark_at, format_1_records_at, false, 0, 0};
  if (format == 2) return {mark_in_segment_at, format_2_records_at, true, 0, 0};
  if (format == 3) return {mark_in_segment_at, format_3_records_at, true, note_in_segment_at, 1};
  return {};
}

void encode_segment_header(const SegmentHeader& header, std::span<std::byte, segment_header_bytes> bytes) noexcept {
  std::memset(bytes.data(), 0, bytes.size());
  put<std::uint64_t>(bytes, segment_magic_at, segment_magic);
  put<std::uint32_t>(bytes, segment_format_at, header.format);
  put<std::uint32_t>(bytes, segment_header_bytes_at, segment_header_bytes);
  put(bytes, segment_salt_at, header.salt);
  put(bytes, segment_number_at, header.number);
  put(bytes, segment_first_position_at, header.first_position);
  put(bytes, segment_synced_position_at, header.synced_position);
  put(bytes, segment_version_at, header.version);
  put(bytes, segment_pages_at, header.pages);
  put(bytes, segment_image_bytes_at, header.image_bytes);
  put(bytes, segment_image_inode_at, header.image.inode);
  put(bytes, segment_image_birth_ns_at, header.image.birth_ns);
  put(bytes, segment_previous_first_at, header.previous_first_position);
  put(bytes, segment_generation_at, header.image.generation);
  put(bytes, segment_entry_bytes_at, header.entry.size);
  std::copy_n(header.entry.bytes.begin(), header.entry.size, bytes.begin() + segment_entry_at);
  put(bytes, segment_checksum_at, log_checksum(bytes.first(segment_checksum_at)));
}

Decoded decode_segment_header(std::span<const std::byte> bytes, SegmentHeader& header,
                              std::uint32_t& other_version) noexcept {
  if (all_zero(bytes.first(std::min(bytes.size(), segment_header_bytes)))) return Decoded::empty;
  if (bytes.size() < segment_header_bytes || get<std::uint64_t>(bytes, segment_magic_at) != segment_magic)
    return Decoded::invalid;
  // The checksum first, which all formats have in the same place: a torn header may name any format.
  if (get<std::uint64_t>(bytes, segment_checksum_at) != log_checksum(bytes.first(segment_checksum_at)))
    return Decoded::invalid;
  header.format = get<std::uint32_t>(bytes, segment_format_at);
  other_version = header.format;
  if (header.format < oldest_format_version || header.format > format_version) return Decoded::other_version;
  if (get<std::uint32_t>(bytes, segment_header_bytes_at) != segment_header_bytes) return Decoded::invalid;
  header.salt = get<std::uint64_t>(bytes, segment_salt_at);
  header.number = get<std::uint64_t>(bytes, segment_number_at);
  header.first_position = get<std::uint64_t>(bytes, segment_first_position_at);
  header.synced_position = get<std::uint64_t>(bytes, segment_synced_position_at);
  header.version = get<std::uint64_t>(bytes, segment_version_at);
  header.pages = get<std::uint64_t>(bytes, segment_pages_at);
  header.image_bytes = get<std::uint64_t>(bytes, segment_image_bytes_at);
  header.image.inode = get<std::uint64_t>(bytes, segment_image_inode_at);
  header.image.birth_ns = get<std::int64_t>(bytes, segment_image_birth_ns_at);
  header.previous_first_position = get<std::uint64_t>(bytes, segment_previous_first_at);
  header.image.generation = get<std::uint64_t>(bytes, segment_generation_at);
  const auto entry_bytes = get<std::uint32_t>(bytes, segment_entry_bytes_at);
  if (!is_entry_size(entry_bytes)) return Decoded::invalid;
  header.entry.assign(bytes.subspan(segment_entry_at, entry_bytes));
  return Decoded::valid;
}

void encode_mark(const SegmentMark& mark, std::span<std::byte, mark_bytes> bytes) noexcept {
  put<std::uint64_t>(bytes, mark_magic_at, mark_magic);
  put(bytes, mark_salt_at, mark.salt);
  put(bytes, mark_position_at, mark.position);
  put(bytes, mark_checksum_at, log_checksum(bytes.first(mark_checksum_at)));
}

Decoded decode_mark(std::span<const std::byte> bytes, SegmentMark& mark) noexcept {
  if (bytes.size() < mark_bytes) return Decoded::empty;
  if (get<std::uint64_t>(bytes, mark_magic_at) != mark_magic ||
      get<std::uint64_t>(bytes, mark_checksum_at) != log_checksum(bytes.first(mark_checksum_at)))
    return all_zero(bytes.first(mark_bytes)) ? Decoded::empty : Decoded::invalid;
  mark.salt = get<std::uint64_t>(bytes, mark_salt_at);
  mark.position = get<std::uint64_t>(bytes, mark_position_at);
  return Decoded::valid;
}

void encode_note(const ImageNote& note, std::span<std::byte, note_bytes> bytes) noexcept {
  std::memset(bytes.data(), 0, bytes.size());
  put<std::uint64_t>(bytes, note_magic_at, note_magic);
  put(bytes, note_salt_at, note.salt);
  put(bytes, note_sequence_at, note.sequence);
  put(bytes, note_state_at, static_cast<std::uint32_t>(note.state));
  put(bytes, note_size_bytes_at, note.size_bytes);
  put(bytes, note_modified_ns_at, note.modified_ns);
  put(bytes, note_until_ns_at, note.until_ns);
  put(bytes, note_durable_ns_at, note.durable_ns);
  put(bytes, note_written_ns_at, note.written_ns);
  put(bytes, note_boot_id_at, note.boot_id);
  put(bytes, note_number_at, note.number);
  put(bytes, note_checksum_at, log_checksum(bytes.first(note_checksum_at)));
}

Decoded decode_note(std::span<const std::byte> bytes, ImageNote& note) noexcept {
  if (bytes.size() < note_bytes) return Decoded::empty;
  bytes = bytes.first(note_bytes);
  if (get<std::uint64_t>(bytes, note_magic_at) != note_magic ||
      get<std::uint64_t>(bytes, note_checksum_at) != log_checksum(bytes.first(note_checksum_at)))
    return all_zero(bytes) ? Decoded::empty : Decoded::invalid;
  const auto state = get<std::uint32_t>(bytes, note_state_at);
  if (state < static_cast<std::uint32_t>(ImageNote::State::settled) ||
      state > static_cast<std::uint32_t>(ImageNote::State::foreign))
    return Decoded::invalid;
  note.state = static_cast<ImageNote::State>(state);
  note.salt = get<std::uint64_t>(bytes, note_salt_at);
  note.sequence = get<std::uint64_t>(bytes, note_sequence_at);
  note.size_bytes = get<std::uint64_t>(bytes, note_size_bytes_at);
  note.modified_ns = get<std::int64_t>(bytes, note_modified_ns_at);
  note.until_ns = get<std::int64_t>(bytes, note_until_ns_at);
  note.durable_ns = get<std::int64_t>(bytes, note_durable_ns_at);
  note.written_ns = get<std::int64_t>(bytes, note_written_ns_at);
  note.boot_id = get<std::uint64_t>(bytes, note_boot_id_at);
  note.number = get<std::uint64_t>(bytes, note_number_at);
  // Refuses times so far from now that their sums and differences would overflow.
  constexpr std::int64_t time_max = std::int64_t{1} << 62;
  for (const std::int64_t time : {note.modified_ns, note.until_ns, note.durable_ns, note.written_ns})
    if (time <= -time_max || time >= time_max) return Decoded::invalid;
  return Decoded::valid;
}

void encode_record_header(const RecordHeader& header, std::span<std::byte, record_header_bytes> bytes) noexcept {
  put<std::uint32_t>(bytes, record_magic_at, record_magic);
  put<std::uint32_t>(bytes, record_kind_at, record_kind_publish);
  put(bytes, record_salt_at, header.salt);
  put(bytes, record_position_at, header.position);
  put(bytes, record_version_at, header.version);
  put(bytes, record_synced_position_at, header.synced_position);
  put(bytes, record_pages_at, header.pages);
  put(bytes, record_payload_bytes_at, header.payload_bytes);
  put(bytes, record_payload_checksum_at, header.payload_checksum);
  put(bytes, record_range_count_at, header.range_count);
  put(bytes, record_entry_bytes_at, header.entry_bytes);
  put(bytes, record_checksum_at, log_checksum(bytes.first(record_checksum_at)));
}

Decoded decode_record_header(std::span<const std::byte> bytes, RecordHeader& header) noexcept {
  if (bytes.size() < record_header_bytes) return all_zero(bytes) ? Decoded::empty : Decoded::invalid;
  bytes = bytes.first(record_header_bytes);
  if (get<std::uint32_t>(bytes, record_magic_at) != record_magic)
    return all_zero(bytes) ? Decoded::empty : Decoded::invalid;
  if (get<std::uint64_t>(bytes, record_checksum_at) != log_checksum(bytes.first(record_checksum_at)) ||
      get<std::uint32_t>(bytes, record_kind_at) != record_kind_publish)
    return Decoded::invalid;
  header.salt = get<std::uint64_t>(bytes, record_salt_at);
  header.position = get<std::uint64_t>(bytes, record_position_at);
  header.version = get<std::uint64_t>(bytes, record_version_at);
  header.synced_position = get<std::uint64_t>(bytes, record_synced_position_at);
  header.pages = get<std::uint64_t>(bytes, record_pages_at);
  header.payload_bytes = get<std::uint64_t>(bytes, record_payload_bytes_at);
  header.payload_checksum = get<std::uint64_t>(bytes, record_payload_checksum_at);
  header.range_count = get<std::uint32_t>(bytes, record_range_count_at);
  header.entry_bytes = get<std::uint32_t>(bytes, record_entry_bytes_at);
  const bool table_fits = is_entry_size(header.entry_bytes) && header.entry_bytes <= header.payload_bytes &&
                          header.range_count <= (header.payload_bytes - header.entry_bytes) / range_bytes;
  return table_fits ? Decoded::valid : Decoded::invalid;
}

void encode_range(const LogRange& range, std::span<std::byte, range_bytes> bytes) noexcept {
  put(bytes, range_offset_at, range.offset);
  put(bytes, range_length_at, range.length | (range.zero ? range_zero_bit : 0));
}

LogRange decode_range(std::span<const std::byte, range_bytes> bytes) noexcept {
  const auto length = get<std::uint64_t>(bytes, range_length_at);
  return {get<std::uint64_t>(bytes, range_offset_at), length & ~range_zero_bit, (length & range_zero_bit) != 0};
}

std::uint64_t record_bytes(std::uint64_t payload_bytes) noexcept {
  const std::uint64_t bytes = record_header_bytes + payload_bytes;
  return (bytes + record_alignment - 1) / record_alignment * record_alignment;
}

std::uint64_t payload_bytes_of(std::span<const LogRange> ranges) noexcept {
  std::uint64_t bytes = ranges.size() * range_bytes;
  for (const LogRange& range : ranges)
    if (!range.zero) bytes += range.length;
  return bytes;
}

}  // namespace pageserver::storage
