// The log's format, byte by byte: LOG_FORMAT.md and these bytes change together or not at all.
#include "storage/log/log_codec.hpp"

#include <array>
#include <memory>
#include <random>

#include "storage/log/log_checksum.hpp"
#include "storage/log/xxh3_wide.hpp"
#include "tests/unit/storage/storage_test.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pageserver::test {
namespace {

using namespace storage;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("log format: a segment header has these bytes") {
  SegmentHeader header;
  header.salt = 0x1122334455667788;
  header.number = 3;
  header.first_position = 0x2000;
  header.synced_position = 0x1800;
  header.version = 9;
  header.pages = 5;
  header.image_bytes = 0x20000;
  header.image = {0x77, -2, 0x5566};
  header.previous_first_position = 0x1000;
  std::array<std::byte, log_format::segment_header_bytes> bytes;
  encode_segment_header(header, bytes);
  CHECK(hex(std::span{bytes}.first(96)) ==
        "50534c4f47534547"
        "04000000"
        "00020000"
        "8877665544332211"
        "0300000000000000"
        "0020000000000000"
        "0018000000000000"
        "0900000000000000"
        "0500000000000000"
        "0000020000000000"
        "7700000000000000"
        "feffffffffffffff"
        "0010000000000000");
  CHECK(hex(std::span{bytes}.subspan(96, 8)) == "6655000000000000");
  CHECK(hex(std::span{bytes}.subspan(104, 400)) == std::string(800, '0'));
  CHECK(hex(std::span{bytes}.subspan(504)) == "82e1bc2abec54133");
  SegmentHeader decoded;
  std::uint32_t other = 0;
  REQUIRE(decode_segment_header(bytes, decoded, other) == Decoded::valid);
  CHECK(decoded.salt == header.salt);
  CHECK(decoded.number == header.number);
  CHECK(decoded.first_position == header.first_position);
  CHECK(decoded.synced_position == header.synced_position);
  CHECK(decoded.version == header.version);
  CHECK(decoded.pages == header.pages);
  CHECK(decoded.image_bytes == header.image_bytes);
  CHECK(decoded.image == header.image);
  CHECK(decoded.previous_first_position == header.previous_first_position);
}

TEST_CASE("log format: a note has these bytes, and lies in the third or the fourth block of a segment") {
  ImageNote note;
  note.salt = 0x1122334455667788;
  note.sequence = 10;
  note.state = ImageNote::State::changing;
  note.size_bytes = 0x20000;
  note.modified_ns = -2;
  note.until_ns = 0x3000;
  note.durable_ns = 0x2000;
  note.written_ns = 0x2800;
  note.boot_id = 0xabcdef;
  note.number = 3;
  std::array<std::byte, log_format::note_bytes> bytes;
  encode_note(note, bytes);
  CHECK(hex(std::span{bytes}.first(88)) ==
        "50534c4f474e4f54"
        "8877665544332211"
        "0a00000000000000"
        "02000000"
        "00000000"
        "0000020000000000"
        "feffffffffffffff"
        "0030000000000000"
        "0020000000000000"
        "0028000000000000"
        "efcdab0000000000"
        "0300000000000000");
  ImageNote decoded;
  REQUIRE(decode_note(bytes, decoded) == Decoded::valid);
  CHECK(decoded == note);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] ^= std::byte{4};
    CHECK(decode_note(bytes, decoded) == Decoded::invalid);
    bytes[at] ^= std::byte{4};
  }
  CHECK(decode_note(std::span{bytes}.first(95), decoded) == Decoded::empty);
  CHECK(decode_note(std::vector<std::byte>(96), decoded) == Decoded::empty);
  CHECK(segment_layout(4).records_at == 16384);
  const std::array<std::uint64_t, 5> places{8192, 12288, 8704, 12800, 9216};
  for (std::uint64_t sequence = 0; sequence < places.size(); ++sequence) {
    CHECK(segment_layout(4).note_place(sequence) == places[sequence]);
    CHECK(segment_layout(4).note_place(sequence + 16) == places[sequence]);
    CHECK(segment_layout(3).note_place(sequence + 8) == 8192 + 512 * sequence);
  }
  CHECK(segment_layout(3).records_at == 12288);
  CHECK(segment_layout(2).note_blocks == 0);
  CHECK(segment_layout(2).records_at == 8192);
}

TEST_CASE("log format: a mark, a record header and a range have these bytes") {
  std::array<std::byte, log_format::mark_bytes> mark;
  encode_mark({0x1122334455667788, 0x3000}, mark);
  CHECK(hex(mark) ==
        "50534c4f474d524b"
        "8877665544332211"
        "0030000000000000"
        "041ed54b111dfa9f");

  RecordHeader header;
  header.salt = 0x1122334455667788;
  header.position = 0x2400;
  header.version = 10;
  header.synced_position = 0x1800;
  header.pages = 6;
  header.payload_bytes = 21;
  header.payload_checksum = 0xabcdef;
  header.range_count = 1;
  std::array<std::byte, log_format::record_header_bytes> bytes;
  encode_record_header(header, bytes);
  CHECK(hex(bytes) ==
        "50534c52"
        "01000000"
        "8877665544332211"
        "0024000000000000"
        "0a00000000000000"
        "0018000000000000"
        "0600000000000000"
        "1500000000000000"
        "efcdab0000000000"
        "01000000"
        "00000000"
        "6299413e529c3912");

  std::array<std::byte, log_format::range_bytes> range;
  encode_range({7, 5, false}, range);
  CHECK(hex(range) ==
        "0700000000000000"
        "0500000000000000");
  encode_range({7, 5, true}, range);
  CHECK(hex(range) ==
        "0700000000000000"
        "0500000000000080");
  CHECK(decode_range(range) == LogRange{7, 5, true});
  CHECK(record_bytes(21) == 104);
  CHECK(record_bytes(24) == 104);
}

TEST_CASE("log format: any changed bit of a header makes it invalid, and zeros are empty") {
  std::array<std::byte, log_format::record_header_bytes> record;
  encode_record_header({1, 2, 3, 4, 5, 32, 7, 2}, record);
  RecordHeader decoded;
  REQUIRE(decode_record_header(record, decoded) == Decoded::valid);
  for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
    auto changed = record;
    changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    REQUIRE(decode_record_header(changed, decoded) == Decoded::invalid);
  }
  for (std::size_t length = 0; length < record.size(); ++length)
    REQUIRE(decode_record_header(std::span{record}.first(length), decoded) != Decoded::valid);
  CHECK(decode_record_header(filled(80, 0), decoded) == Decoded::empty);

  std::array<std::byte, log_format::segment_header_bytes> segment;
  encode_segment_header({}, segment);
  SegmentHeader header;
  std::uint32_t other = 0;
  for (std::size_t bit = 0; bit < segment.size() * 8; ++bit) {
    auto changed = segment;
    changed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    REQUIRE(decode_segment_header(changed, header, other) != Decoded::valid);
  }
  CHECK(decode_segment_header(filled(512, 0), header, other) == Decoded::empty);
  CHECK(decode_segment_header({}, header, other) == Decoded::empty);
  SegmentMark mark;
  CHECK(decode_mark(filled(32, 0), mark) == Decoded::empty);
  CHECK(decode_mark(filled(32, 1), mark) == Decoded::invalid);
}

TEST_CASE("log format: a range count that the payload can't hold is invalid") {
  std::array<std::byte, log_format::record_header_bytes> record;
  encode_record_header({1, 2, 3, 4, 5, 31, 7, 2}, record);
  RecordHeader decoded;
  CHECK(decode_record_header(record, decoded) == Decoded::invalid);
}

TEST_CASE("log format: a checksum in parts is that of the whole") {
  std::mt19937 random{7};
  std::vector<std::byte> bytes(100000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  LogChecksum checksum;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = std::min<std::size_t>(random() % 5000, bytes.size() - at);
    checksum.add(std::span{bytes}.subspan(at, length));
    at += length;
  }
  CHECK(checksum.value() == log_checksum(bytes));
}

// A log that one processor wrote is read on another.
TEST_CASE("log format: a checksum is the same on every processor") {
  std::mt19937 random{8};
  std::vector<std::byte> bytes(70000);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state{XXH3_createState(), XXH3_freeState};
  std::size_t wrong = 0;
  for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 64) {
    const std::span part = std::span{bytes}.subspan(random() % (bytes.size() - length), length);
    const std::uint64_t expected = XXH3_64bits(part.data(), part.size());
    if (log_checksum(part) != expected) ++wrong;
#ifdef __x86_64__
    if (storage::xxh3_wide == nullptr || !__builtin_cpu_supports("avx2")) continue;
    if (xxh3_wide->hash(part.data(), part.size()) != expected) ++wrong;
    XXH3_64bits_reset(state.get());
    const std::size_t first = random() % (length + 1);
    xxh3_wide->update(state.get(), part.data(), first);
    XXH3_64bits_update(state.get(), part.data() + first, length - first);
    if (xxh3_wide->digest(state.get()) != expected || XXH3_64bits_digest(state.get()) != expected) ++wrong;
#endif
  }
  CHECK(wrong == 0);
}

}  // namespace pageserver::test
