// The redo log's headers as structs and as bytes. Pure: no file, and no allocation by a number that was read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "storage/log/log_format.hpp"

namespace pageserver::storage {

/// Says which image a log belongs to. Device numbers change from boot to boot, so they are not part of it.
struct ImageIdentity {
  std::uint64_t inode = 0;
  std::int64_t birth_ns = 0;     ///< 0 where the file system does not say
  std::uint64_t generation = 0;  ///< see FileStatus; 0: not known
  friend bool operator==(const ImageIdentity&, const ImageIdentity&) = default;
};

/// Where the parts of a segment lie, which differs between formats.
struct SegmentLayout {
  std::uint64_t mark_at = log_format::mark_in_segment_at;
  std::uint64_t records_at = log_format::segment_records_at;
  bool new_blocks = true;  ///< a record may begin at the next block; the bytes before it then mean nothing
  std::uint64_t note_at = log_format::note_in_segment_at;
  std::uint64_t note_blocks = log_format::note_blocks;  ///< 0: there are no notes

  /// Where a note of this sequence lies.
  std::uint64_t note_place(std::uint64_t sequence) const noexcept {
    return note_at + sequence % note_blocks * log_format::block_bytes +
           sequence / note_blocks % log_format::note_slots * log_format::note_slot_bytes;
  }
};
SegmentLayout segment_layout(std::uint32_t format) noexcept;

/// The first offset of a block that is not below `offset`.
constexpr std::uint64_t block_from(std::uint64_t offset) noexcept {
  return (offset + log_format::block_bytes - 1) / log_format::block_bytes * log_format::block_bytes;
}

/// An encoded resume entry; `size` 0: none.
struct EntryBytes {
  std::uint32_t size = 0;
  std::array<std::byte, log_format::entry_bytes_max> bytes{};

  std::span<const std::byte> view() const noexcept { return std::span{bytes}.first(size); }
  friend bool operator==(const EntryBytes& a, const EntryBytes& b) noexcept {
    return a.size == b.size && std::memcmp(a.bytes.data(), b.bytes.data(), a.size) == 0;
  }
  /// Of more than entry_bytes_max bytes none is kept.
  void assign(std::span<const std::byte> entry) noexcept {
    size = entry.size() <= bytes.size() ? static_cast<std::uint32_t>(entry.size()) : 0;
    if (size != 0) std::memcpy(bytes.data(), entry.data(), size);
  }
};

struct SegmentHeader {
  std::uint32_t format = log_format::format_version;
  std::uint64_t salt = 0;
  std::uint64_t number = 0;
  std::uint64_t first_position = 0;   ///< the log position of the header's first byte
  std::uint64_t synced_position = 0;  ///< everything below was synced before this segment was made
  std::uint64_t version = 0;          ///< of the last record before this segment
  std::uint64_t pages = 0;            ///< after that record
  std::uint64_t image_bytes = 0;      ///< size of the image file then; it never shrinks
  ImageIdentity image;
  std::uint64_t previous_first_position = 0;  ///< of the segment before; its own for the first segment of a log
  EntryBytes entry;                           ///< of the last record before this segment
};

struct RecordHeader {
  std::uint64_t salt = 0;
  std::uint64_t position = 0;         ///< the log position of the header's first byte
  std::uint64_t version = 0;          ///< the version that this record makes
  std::uint64_t synced_position = 0;  ///< everything below was synced before this record was written
  std::uint64_t pages = 0;            ///< of that version
  std::uint64_t payload_bytes = 0;    ///< range table, resume entry and data, without the padding after them
  std::uint64_t payload_checksum = 0;
  std::uint32_t range_count = 0;
  std::uint32_t entry_bytes = 0;  ///< of the resume entry
};

/// A changed range of the image.
struct LogRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool zero = false;  ///< all zeros: no data in the log
  friend bool operator==(const LogRange&, const LogRange&) = default;
};

enum class Decoded : std::uint8_t {
  valid,
  empty,          ///< all zeros: never written
  invalid,        ///< no magic, a wrong checksum, or a field with an impossible value
  other_version,  ///< a whole header of a format version that is not known; `other_version` of decode_segment_header
                  ///< says which
};

void encode_segment_header(const SegmentHeader& header,
                           std::span<std::byte, log_format::segment_header_bytes> bytes) noexcept;
Decoded decode_segment_header(std::span<const std::byte> bytes, SegmentHeader& header,
                              std::uint32_t& other_version) noexcept;

/// Everything below `position` is in the image, and the image is synced.
struct SegmentMark {
  std::uint64_t salt = 0;
  std::uint64_t position = 0;
};
void encode_mark(const SegmentMark& mark, std::span<std::byte, log_format::mark_bytes> bytes) noexcept;
Decoded decode_mark(std::span<const std::byte> bytes, SegmentMark& mark) noexcept;

/// A note of the image file: see image_note.hpp.
struct ImageNote {
  enum class State : std::uint32_t {
    settled = 1,   ///< size and modification time are as our last change left them
    changing = 2,  ///< we may change it, from `modified_ns` to `until_ns`
    foreign = 3,   ///< somebody else changed it since it was settled
  };
  std::uint64_t salt = 0;
  std::uint64_t sequence = 0;  ///< of two notes of a log the higher one holds
  State state = State::settled;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;  ///< settled: its time; changing: the earliest that it can have
  std::int64_t until_ns = 0;     ///< changing: the latest that a change of ours can leave. Else 0, or a later one than
                                 ///< all else here that a loss of power may leave: the clock was set back
  std::int64_t durable_ns = 0;   ///< of what a loss of power leaves, no time is earlier; 0: not known
  std::int64_t written_ns = 0;   ///< when this was written
  std::uint64_t boot_id = 0;     ///< in which run of the system; 0: not known
  std::uint64_t number = 0;      ///< of the segment that it was written into; 0 in format 3
  friend bool operator==(const ImageNote&, const ImageNote&) = default;
};
void encode_note(const ImageNote& note, std::span<std::byte, log_format::note_bytes> bytes) noexcept;
Decoded decode_note(std::span<const std::byte> bytes, ImageNote& note) noexcept;

void encode_record_header(const RecordHeader& header,
                          std::span<std::byte, log_format::record_header_bytes> bytes) noexcept;
Decoded decode_record_header(std::span<const std::byte> bytes, RecordHeader& header) noexcept;

void encode_range(const LogRange& range, std::span<std::byte, log_format::range_bytes> bytes) noexcept;
LogRange decode_range(std::span<const std::byte, log_format::range_bytes> bytes) noexcept;

/// The bytes that a record takes in the log, padding included.
std::uint64_t record_bytes(std::uint64_t payload_bytes) noexcept;
/// The payload of these ranges without a resume entry: table and data.
std::uint64_t payload_bytes_of(std::span<const LogRange> ranges) noexcept;

}  // namespace pageserver::storage
