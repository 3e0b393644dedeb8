// The numbers of the redo log's format, and nothing else. LOG_FORMAT.md says what they mean; both change together.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pageserver::storage::log_format {

/// The format that is written. Formats 1 to 4 are still read.
inline constexpr std::uint32_t format_version = 5;
inline constexpr std::uint32_t oldest_format_version = 1;

/// A loss of power may tear a write within one block of this size; blocks begin at its multiples.
inline constexpr std::uint64_t block_bytes = 4096;

/// "PSLOGSEG", read as a little-endian number.
inline constexpr std::uint64_t segment_magic = 0x474553474F4C5350;
inline constexpr std::size_t segment_header_bytes = 512;

inline constexpr std::size_t segment_magic_at = 0;             // u64
inline constexpr std::size_t segment_format_at = 8;            // u32
inline constexpr std::size_t segment_header_bytes_at = 12;     // u32
inline constexpr std::size_t segment_salt_at = 16;             // u64
inline constexpr std::size_t segment_number_at = 24;           // u64
inline constexpr std::size_t segment_first_position_at = 32;   // u64
inline constexpr std::size_t segment_synced_position_at = 40;  // u64
inline constexpr std::size_t segment_version_at = 48;          // u64
inline constexpr std::size_t segment_pages_at = 56;            // u64
inline constexpr std::size_t segment_image_bytes_at = 64;      // u64
inline constexpr std::size_t segment_image_inode_at = 72;      // u64
inline constexpr std::size_t segment_image_birth_ns_at = 80;   // i64
inline constexpr std::size_t segment_previous_first_at = 88;   // u64
inline constexpr std::size_t segment_generation_at = 96;       // u64; 0 before format 3
inline constexpr std::size_t segment_entry_bytes_at = 104;     // u32; 0 before format 5, like what follows
inline constexpr std::size_t segment_entry_at = 112;     // the resume entry of the last record before this segment
inline constexpr std::size_t segment_checksum_at = 504;  // u64: XXH3-64 of the bytes before it

/// The second block of a segment, written at most once: everything below a position is in the synced image.
/// "PSLOGMRK", read as a little-endian number.
inline constexpr std::uint64_t mark_magic = 0x4B524D474F4C5350;
inline constexpr std::size_t mark_bytes = 32;
inline constexpr std::size_t mark_in_segment_at = block_bytes;
inline constexpr std::size_t mark_magic_at = 0;      // u64
inline constexpr std::size_t mark_salt_at = 8;       // u64
inline constexpr std::size_t mark_position_at = 16;  // u64
inline constexpr std::size_t mark_checksum_at = 24;  // u64: XXH3-64 of the bytes before it

/// The third and the fourth block: notes of the image file. Notes go into the two blocks in turns, so that a loss of
/// power which tears one block leaves the note before. Each block has several places, so that threads which write notes
/// at the same time don't overwrite the one that holds. "PSLOGNOT", read as a little-endian number.
inline constexpr std::uint64_t note_magic = 0x544F4E474F4C5350;
inline constexpr std::size_t note_bytes = 96;
inline constexpr std::size_t note_in_segment_at = 2 * block_bytes;
inline constexpr std::uint64_t note_blocks = 2;
inline constexpr std::uint64_t note_slots = 8;  // in each block
inline constexpr std::uint64_t note_slot_bytes = 512;
inline constexpr std::size_t note_magic_at = 0;         // u64
inline constexpr std::size_t note_salt_at = 8;          // u64
inline constexpr std::size_t note_sequence_at = 16;     // u64
inline constexpr std::size_t note_state_at = 24;        // u32
inline constexpr std::size_t note_reserved_at = 28;     // u32, zero
inline constexpr std::size_t note_size_bytes_at = 32;   // u64
inline constexpr std::size_t note_modified_ns_at = 40;  // i64
inline constexpr std::size_t note_until_ns_at = 48;     // i64
inline constexpr std::size_t note_durable_ns_at = 56;   // i64
inline constexpr std::size_t note_written_ns_at = 64;   // i64
inline constexpr std::size_t note_boot_id_at = 72;      // u64
inline constexpr std::size_t note_number_at = 80;       // u64; 0 in format 3
inline constexpr std::size_t note_checksum_at = 88;     // u64: XXH3-64 of the bytes before it

/// Where a segment's first record begins.
inline constexpr std::size_t segment_records_at = 4 * block_bytes;

/// The same in format 3, which has one block of notes; in format 2, which has none; and in format 1, where no record
/// begins a new block either.
inline constexpr std::size_t format_3_records_at = 3 * block_bytes;
inline constexpr std::size_t format_2_records_at = 2 * block_bytes;
inline constexpr std::size_t format_1_mark_at = 512;
inline constexpr std::size_t format_1_records_at = 1024;

/// "PSLR", read as a little-endian number.
inline constexpr std::uint32_t record_magic = 0x524C5350;
inline constexpr std::uint32_t record_kind_publish = 1;
inline constexpr std::size_t record_header_bytes = 80;
inline constexpr std::uint64_t record_alignment = 8;

inline constexpr std::size_t record_magic_at = 0;              // u32
inline constexpr std::size_t record_kind_at = 4;               // u32
inline constexpr std::size_t record_salt_at = 8;               // u64
inline constexpr std::size_t record_position_at = 16;          // u64
inline constexpr std::size_t record_version_at = 24;           // u64
inline constexpr std::size_t record_synced_position_at = 32;   // u64
inline constexpr std::size_t record_pages_at = 40;             // u64
inline constexpr std::size_t record_payload_bytes_at = 48;     // u64
inline constexpr std::size_t record_payload_checksum_at = 56;  // u64: XXH3-64 of the payload
inline constexpr std::size_t record_range_count_at = 64;       // u32
inline constexpr std::size_t record_entry_bytes_at = 68;       // u32; 0 before format 5
inline constexpr std::size_t record_checksum_at = 72;          // u64: XXH3-64 of the header's bytes before it

/// One entry of the range table that a payload starts with.
inline constexpr std::size_t range_bytes = 16;
inline constexpr std::size_t range_offset_at = 0;  // u64
inline constexpr std::size_t range_length_at = 8;  // u64; the top bit says that the range is zero and has no data
inline constexpr std::uint64_t range_zero_bit = 1ull << 63;

/// The resume entry, behind the range table: which session published, and up to which of its requests.
inline constexpr std::size_t entry_token_hash_at = 0;  // 16 bytes
inline constexpr std::size_t entry_token_hash_bytes = 16;
inline constexpr std::size_t entry_owner_at = 16;       // u64
inline constexpr std::size_t entry_request_id_at = 24;  // u64
inline constexpr std::size_t entry_mode_at = 32;        // u32
inline constexpr std::size_t entry_outcomes_at = 36;    // u32: how many of them follow
inline constexpr std::size_t entry_fixed_bytes = 40;
inline constexpr std::size_t outcome_request_id_at = 0;  // u64
inline constexpr std::size_t outcome_value_at = 8;       // u64
inline constexpr std::size_t outcome_status_at = 16;     // u32; then 4 bytes of zeros
inline constexpr std::size_t outcome_bytes = 24;
inline constexpr std::size_t outcomes_max = 14;
inline constexpr std::size_t entry_bytes_max = entry_fixed_bytes + outcomes_max * outcome_bytes;
static_assert(segment_entry_at + entry_bytes_max <= segment_checksum_at);

/// The file that keeps an entry where there is no log: after a clean stop, or a recovery. "PSRESUME", read as a
/// little-endian number.
inline constexpr std::uint64_t resume_file_magic = 0x454D555345525350;
inline constexpr std::size_t resume_file_bytes = 512;
inline constexpr std::size_t resume_file_magic_at = 0;         // u64
inline constexpr std::size_t resume_file_version_at = 8;       // u32: 1
inline constexpr std::size_t resume_file_entry_bytes_at = 12;  // u32
inline constexpr std::size_t resume_file_inode_at = 16;        // u64
inline constexpr std::size_t resume_file_birth_ns_at = 24;     // i64
inline constexpr std::size_t resume_file_generation_at = 32;   // u64
inline constexpr std::size_t resume_file_size_bytes_at = 40;   // u64
inline constexpr std::size_t resume_file_modified_ns_at = 48;  // i64
inline constexpr std::size_t resume_file_entry_at = 56;
inline constexpr std::size_t resume_file_checksum_at = 504;  // u64: XXH3-64 of the bytes before it
static_assert(resume_file_entry_at + entry_bytes_max <= resume_file_checksum_at);

}  // namespace pageserver::storage::log_format
