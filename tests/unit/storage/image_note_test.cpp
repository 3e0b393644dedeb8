// Which image a note speaks against, in the same run of the system and in another one; and the notes of an open log.
#include "storage/log/image_note.hpp"

#include <fcntl.h>

#include <array>
#include <chrono>

#include "storage/engine/recovery.hpp"
#include "storage/file/folder.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

using namespace storage;

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t noon = 1'700'000'000 * second + 123'456'789;
constexpr Boot here{7, noon - 1000 * second};

ImageNote note_of(ImageNote::State state) {
  ImageNote note;
  note.state = state;
  note.size_bytes = 2 * page_size;
  note.modified_ns = noon;
  note.until_ns = state == ImageNote::State::changing ? noon + 5 * second : 0;
  note.durable_ns = noon - 100 * second;
  note.written_ns = noon;
  note.boot_id = here.id;
  return note;
}

bool fits(const ImageNote& note, std::int64_t modified_ns, const Boot& boot, std::uint64_t size = 2 * page_size) {
  FileStatus image;
  image.size_bytes = size;
  image.modified_ns = modified_ns;
  return !note_contradicts(note, image, boot);
}

}  // namespace

TEST_CASE("image note: settled, in the same run, only this very size and time fit") {
  const ImageNote note = note_of(ImageNote::State::settled);
  CHECK(fits(note, noon, here));
  CHECK_FALSE(fits(note, noon, here, 3 * page_size));
  for (const std::int64_t apart : {std::int64_t{2000}, second, 3600 * second}) {
    CHECK_FALSE(fits(note, noon + apart, here));
    CHECK_FALSE(fits(note, noon - apart, here));
  }
  // What a file system cuts off when it forgets a file's state in memory: to a microsecond, a second, two seconds.
  CHECK(fits(note, noon - 789, here));
  CHECK(fits(note, noon - 123'456'789, here));
  CHECK(fits(note, noon - 123'456'789 - second, here));
  CHECK_FALSE(fits(note, noon - 123'456'789 - 2 * second, here));
}

TEST_CASE("image note: changing, in the same run, a time fits from the earliest to the latest") {
  const ImageNote note = note_of(ImageNote::State::changing);
  CHECK(fits(note, noon, here));
  CHECK(fits(note, noon + 5 * second, here));
  CHECK_FALSE(fits(note, noon + 5 * second + 1, here));
  CHECK_FALSE(fits(note, noon - 2000, here));
  ImageNote endless = note;
  endless.until_ns = 0;
  CHECK(fits(endless, noon + 1000 * second, here));
  CHECK(fits(endless, noon + 10'000 * second, Boot{8, noon + 60 * second}));
}

TEST_CASE("image note: in another run what a loss of power may leave fits, and what was written since does not") {
  const auto state = GENERATE(ImageNote::State::settled, ImageNote::State::changing);
  const ImageNote note = note_of(state);
  const Boot next{8, noon + 60 * second};
  const Boot unknown{0, 0};
  for (const Boot& boot : {next, unknown}) {
    CHECK(fits(note, noon - 100 * second, boot));
    CHECK(fits(note, noon, boot));
    CHECK(fits(note, noon + 50 * second, boot));
    CHECK(fits(note, noon - 101 * second, boot));  // so much a clock goes back by itself
    CHECK_FALSE(fits(note, noon - 103 * second, boot));
    CHECK_FALSE(fits(note, noon + 3700 * second, boot));
  }
  CHECK(fits(note, noon + 70 * second, next));
  CHECK_FALSE(fits(note, noon + 71 * second, next));
  CHECK(fits(note, noon + 71 * second, unknown));
  // Another note was lost, and the clock set back since.
  CHECK(fits(note, noon + 60 * second, Boot{8, noon + 20 * second}));
  CHECK_FALSE(fits(note, noon + 66 * second, Boot{8, noon + 20 * second}));
  // The clock went back meanwhile, or the other machine started long ago: nothing follows from when it did.
  CHECK(fits(note, noon + 71 * second, Boot{8, noon - 3600 * second}));
}

TEST_CASE("image note: a time from before the clock was set back fits in another run") {
  ImageNote note = note_of(ImageNote::State::settled);
  note.until_ns = noon + 7200 * second;
  const Boot next{8, noon + 60 * second};
  CHECK(fits(note, noon + 7200 * second, next));
  CHECK_FALSE(fits(note, noon + second, here));
}

TEST_CASE("image note: where it is not known which time the image may have, any fits") {
  ImageNote note = note_of(ImageNote::State::settled);
  note.until_ns = any_time_ns;
  note.durable_ns = 0;
  std::array<std::byte, log_format::note_bytes> bytes;
  encode_note(note, bytes);
  ImageNote read;
  REQUIRE(decode_note(bytes, read) == Decoded::valid);
  const Boot next{8, noon + 60 * second};
  CHECK(fits(read, noon + 1'000'000'000 * second, next));
  CHECK(fits(read, noon - 1'000'000'000 * second, next));
  CHECK_FALSE(fits(read, noon + second, here));
}

TEST_CASE("image note: one that somebody else changed fits no note any more") {
  const ImageNote note = note_of(ImageNote::State::foreign);
  CHECK_FALSE(fits(note, noon, here));
  CHECK_FALSE(fits(note, noon + second, Boot{8, noon + 60 * second}));
}

TEST_CASE("image note: a text says both times, for people") {
  FileStatus image;
  image.size_bytes = 2 * page_size;
  image.modified_ns = noon + second;
  const auto text = note_contradicts(note_of(ImageNote::State::settled), image, here);
  REQUIRE(text);
  CHECK(*text ==
        "the modification time 2023-11-14 22:13:20.123456789 UTC, and this one was changed at 2023-11-14 "
        "22:13:21.123456789 UTC");
}

TEST_CASE_METHOD(EngineHarness, "image note: it says changing before a new page's blocks are had, settled at a flush") {
  make_file(path(), 0);
  std::filesystem::resize_file(path(), 2 * page_size);
  open();
  const auto write = writer();
  const auto newest = [&] {
    LogSegment segment;
    segment.file = Folder::open(files, folder.path()).open_file("db.img.log.0000000001", O_RDONLY, 0, "open log");
    SegmentHeader header;
    std::array<std::byte, log_format::segment_header_bytes> bytes;
    std::uint32_t other = 0;
    segment.file.read(0, bytes);
    REQUIRE(decode_segment_header(bytes, header, other) == Decoded::valid);
    segment.salt = header.salt;
    segment.number = header.number;
    const auto note = read_note(segment);
    REQUIRE(note);
    return *note;
  };
  FileStatus status;
  std::optional<ImageNote> at_reserve;
  files.before(Call::reserve, [&] {
    if (log_files() == 1 && std::filesystem::file_size(log()) != 0) at_reserve = newest();
  });
  write->write(0, filled(100, 1));
  REQUIRE(at_reserve);
  CHECK(at_reserve->state == ImageNote::State::changing);
  REQUIRE(files.status_of(path(), status).ok());
  CHECK(at_reserve->modified_ns <= status.modified_ns);
  CHECK(at_reserve->until_ns >= status.modified_ns);
  CHECK(newest().state == ImageNote::State::changing);
  flush(*write);
  const ImageNote settled = newest();
  CHECK(settled.state == ImageNote::State::settled);
  CHECK(settled.modified_ns == status.modified_ns);
  CHECK(settled.size_bytes == 2 * page_size);
  CHECK(settled.boot_id == files.boot().id);
  // What is written again needs no blocks, and nothing is noted for it.
  write->write(0, filled(100, 2));
  flush(*write);
  CHECK(newest().sequence == settled.sequence);
  // A change from outside is found by the next opening.
  kill();
  std::filesystem::last_write_time(path(), std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"--drop-log", "--adopt", "was changed at"});
  storage::recover_log(files, path(), true);
  open();
  CHECK(read_from(*reader(), 0, 100) == filled(100, 2));
}

}  // namespace pageserver::test
