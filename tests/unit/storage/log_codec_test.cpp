// The log's format, byte by byte: LOG_FORMAT.md and these bytes change together or not at all.
#include "storage/log/log_codec.hpp"

#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>

#include "storage/log/log_checksum.hpp"
#include "storage/log/resume_file.hpp"
#include "storage/log/xxh3_wide.hpp"
#include "tests/support/temp_dir.hpp"
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
        "05000000"
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
  CHECK(hex(std::span{bytes}.subspan(504)) == "c8d7c1f2a8a5f3f1");
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

TEST_CASE(
    "log format: a resume entry has these bytes, and lies behind the table of a record and in a segment's header") {
  storage::ResumeEntry entry;
  entry.token_hash.fill(std::byte{0x11});
  entry.owner = 0x2233445566778899;
  entry.last_request_id = 77;
  entry.publish = Publish::on_flush;
  entry.outcomes = {{75, 0x1234, 0}, {76, 0, 7}};
  const storage::EntryBytes encoded = storage::encode_entry(entry);
  CHECK(hex(encoded.view()) ==
        "11111111111111111111111111111111"
        "9988776655443322"
        "4d00000000000000"
        "01000000"
        "02000000"
        "4b00000000000000"
        "3412000000000000"
        "0000000000000000"
        "4c00000000000000"
        "0000000000000000"
        "0700000000000000");
  CHECK(storage::decode_entry(encoded.view()) == entry);
  for (std::size_t length = 0; length < encoded.size; ++length)
    CHECK_FALSE(storage::decode_entry(encoded.view().first(length)));
  entry.outcomes.assign(storage::ResumeEntry::outcomes_max, {1, 2, 3});
  CHECK(storage::encode_entry(entry).size == log_format::entry_bytes_max);
  // More is remembered as nothing, and never as less.
  entry.outcomes.push_back({1, 2, 3});
  CHECK(storage::encode_entry(entry).size == 0);

  SegmentHeader header;
  header.entry = encoded;
  std::array<std::byte, log_format::segment_header_bytes> bytes;
  encode_segment_header(header, bytes);
  CHECK(hex(std::span{bytes}.subspan(104, 8)) == "5800000000000000");
  CHECK(hex(std::span{bytes}.subspan(112, encoded.size)) == hex(encoded.view()));
  SegmentHeader decoded;
  std::uint32_t other = 0;
  REQUIRE(decode_segment_header(bytes, decoded, other) == Decoded::valid);
  CHECK(decoded.entry == encoded);

  for (const std::uint32_t size : {0u, 40u, 64u, 88u, 376u, 8u, 41u, 48u, 400u, 0x80000028u}) {
    RecordHeader record;
    record.payload_bytes = 1000;
    record.entry_bytes = size;
    std::array<std::byte, log_format::record_header_bytes> record_bytes;
    encode_record_header(record, record_bytes);
    const bool can_be = size == 0 || (size >= 40 && size <= 376 && (size - 40) % 24 == 0);
    CHECK((decode_record_header(record_bytes, record) == Decoded::valid) == can_be);
  }
}

TEST_CASE("log format: a resume file counts for the image that it names alone, and while that is unchanged") {
  TempDir dir;
  const storage::Folder folder = storage::Folder::open(storage::posix_file_system(), dir.path().string());
  storage::ResumeEntry entry;
  entry.last_request_id = 9;
  const storage::EntryBytes encoded = storage::encode_entry(entry);
  storage::FileStatus image;
  image.inode = 5;
  image.birth_ns = 1'000'000'001;
  image.size_bytes = 65536;
  image.modified_ns = 2'000'000'001;
  CHECK(storage::read_resume_file(folder, "a.img", image).size == 0);
  CHECK_FALSE(storage::has_resume_file(folder, "a.img"));
  storage::write_resume_file(folder, "a.img", encoded, image, 0600);
  CHECK(storage::has_resume_file(folder, "a.img"));
  CHECK(storage::read_resume_file(folder, "a.img", image) == encoded);
  for (const int what : {0, 1, 2, 3}) {
    storage::FileStatus other = image;
    if (what == 0) ++other.inode;
    if (what == 1) ++other.birth_ns;
    if (what == 2) other.size_bytes += 65536;
    if (what == 3) other.modified_ns += 10'000;
    CHECK(storage::read_resume_file(folder, "a.img", other).size == 0);
  }
  std::string bytes;
  {
    std::ifstream in{dir.file("a.img.resume.0000000001"), std::ios::binary};
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  REQUIRE(bytes.size() == log_format::resume_file_bytes);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    std::ofstream{dir.file("a.img.resume.0000000001"), std::ios::binary} << changed;
    REQUIRE(storage::read_resume_file(folder, "a.img", image).size == 0);
    std::ofstream{dir.file("a.img.resume.0000000001"), std::ios::binary} << bytes.substr(0, at);
    REQUIRE(storage::read_resume_file(folder, "a.img", image).size == 0);
  }
  storage::remove_resume_file(folder, "a.img");
  CHECK_FALSE(storage::has_resume_file(folder, "a.img"));
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
