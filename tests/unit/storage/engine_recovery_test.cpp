// What a killed process leaves, and what becomes of it: replayed, cut, or refused with a reason.
#include <chrono>

#include "storage/engine/recovery.hpp"
#include "storage/log/log_checksum.hpp"
#include "storage/log/log_codec.hpp"
#include "tests/support/neighbours.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

using storage::RecoveryReport;

/// Changes bytes of a file.
void patch(const std::string& path, std::uint64_t offset, std::span<const std::byte> bytes) {
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  REQUIRE(file);
  file.seekp(static_cast<std::streamoff>(offset));
  for (const std::byte byte : bytes) file.put(static_cast<char>(byte));
}

using SegmentHeaderBytes = std::array<std::byte, storage::log_format::segment_header_bytes>;

void put_checksum(SegmentHeaderBytes& bytes) {
  const std::uint64_t checksum =
      storage::log_checksum(std::span{bytes}.first(storage::log_format::segment_checksum_at));
  for (std::size_t i = 0; i < 8; ++i)
    bytes[storage::log_format::segment_checksum_at + i] = static_cast<std::byte>(checksum >> (8 * i));
}

class KilledHarness : public EngineHarness {
public:
  /// Records in the log: grow(3), then per step a write of 100 bytes and a flush. Each record is in a block of its own.
  void leave_log(int writes) {
    open();
    const auto write = writer();
    write->grow(3);
    flush(*write);
    for (int i = 0; i < writes; ++i) {
      write->write(static_cast<std::uint64_t>(i) * 1000, filled(100, i + 1));
      flush(*write);
    }
    // A process that is killed does not destroy its sessions: nothing is written at their end.
  }
  /// One write of 3,500 bytes in each file, six times over the same place, and flushed.
  void leave_log_of_many_files() {
    options.segment_bytes = 4096;
    open();
    const auto write = writer();
    write->grow(3);
    for (int i = 0; i < 6; ++i) {
      write->write(0, filled(3500, i + 1));
      flush(*write);
    }
    kill();
  }
  static constexpr std::uint64_t records_at = storage::log_format::segment_records_at;
  static constexpr std::uint64_t first_write_at = records_at + 4096;
  static constexpr std::uint64_t record = 4096;
  RecoveryReport inspect() { return storage::inspect_log(files, path()); }
};

/// Says of every file when it was born, whatever the disk's file system knows of that.
class BirthFileSystem : public FaultyFileSystem {
public:
  storage::IoResult status(int file, storage::FileStatus& status) override {
    const auto result = FaultyFileSystem::status(file, status);
    status.birth_ns = birth_ns;
    return result;
  }
  std::int64_t birth_ns = 0;
};

class BirthHarness : public KilledHarness {
public:
  std::unique_ptr<storage::Store> open_born(std::int64_t birth_ns) {
    born.birth_ns = birth_ns;
    ++options.salt;
    return storage::open_engine(born, path(), sync_lane, checkpoint_lane, options);
  }
  /// A log with one write, of an image that was made then.
  void leave_log_born(std::int64_t birth_ns) {
    const auto store = open_born(birth_ns);
    const auto write = open_now(*store, session_request(Access::write));
    write->grow(1);
    write->write(1000, filled(100, 2));
    flush(*write);
  }
  BirthFileSystem born;
};

}  // namespace

TEST_CASE_METHOD(KilledHarness, "recovery: the work depends on the log, not on the image") {
  const auto work = [&](std::uint64_t pages) {
    std::filesystem::remove(path());
    open();
    writer()->grow(pages);
    close();
    leave_log(5);
    kill();
    const auto before = std::pair{files.calls(Call::read), files.calls(Call::write)};
    open();
    const auto after = std::pair{files.calls(Call::read), files.calls(Call::write)};
    CHECK(read_from(*reader(), 4000, 100) == filled(100, 5));
    close();
    return std::pair{after.first - before.first, after.second - before.second};
  };
  CHECK(work(1) == work(1'000'000));
}

TEST_CASE_METHOD(KilledHarness, "recovery: the folder, which may have many files, is listed once for an opening") {
  leave_log(2);
  kill();
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t lists = files.calls(Call::list);
    open();
    CHECK(files.calls(Call::list) == lists + 1);
    close();
  }
}

TEST_CASE_METHOD(KilledHarness, "recovery: after a kill every answered publish is there, flushed or not") {
  open();
  auto write = writer();
  write->grow(3);
  write->write(70000, bytes_of("not flushed"));
  write->zero(70003, 2);
  write.reset();
  kill();
  const RecoveryReport report = inspect();
  CHECK(report.log_found);
  CHECK_FALSE(report.problem);
  CHECK(report.records == 3);
  CHECK(report.pages == 3);
  CHECK(report.image_pages == 0);
  open();
  CHECK(reader()->pages() == 3);
  CHECK(read_from(*reader(), 70000, 11) == bytes_of(std::string_view{"not\0\0lushed", 11}));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: private bytes and spilled files leave no trace") {
  options.private_memory_bytes = 4096;
  open();
  const auto write = writer(Publish::on_flush);
  write->grow(3);
  write->write(0, filled(100000, 1));
  make_file(path() + ".spill.0000000077", 100);
  kill();
  open();
  CHECK(reader()->pages() == 0);
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: what others have beside the image stays as it is") {
  const KeptFiles kept{folder.path(), neighbours_of("db.img")};
  options.private_memory_bytes = 4096;
  {
    const auto write = writer_with_small_log(40);
    for (int i = 0; i < 40; ++i) {
      write->write(static_cast<std::uint64_t>(i % 20) * page_size, filled(10'000, i));
      flush(*write);
    }
    write->grow(40'000);  // a size that is tried with a file
    const auto forked = fork();
    forked->write(0, filled(100'000, 1));
    CHECK(spare_files() > 20);  // some are neighbours
    CHECK(kept.changed().empty());
  }
  kill();
  CHECK(inspect().log_found);
  open();
  CHECK(read_from(*reader(), 19 * page_size, 10'000) == filled(10'000, 39));
  close();
  CHECK(kept.changed().empty());
  CHECK(names().size() == kept.names().size() + 1);
}

TEST_CASE_METHOD(KilledHarness,
                 "recovery: folders and links at the names of files that are made later are left alone") {
  const std::string target = folder.file("precious");
  make_file(target, 3);
  const bool link = GENERATE(false, true);
  const auto put = [&](const std::string& name) {
    if (link)
      std::filesystem::create_symlink(target, folder.path() / name);
    else
      std::filesystem::create_directory(folder.path() / name);
  };
  const auto is_there = [&](const std::string& name) {
    const auto status = std::filesystem::symlink_status(folder.path() / name);
    return link ? std::filesystem::is_symlink(status) : std::filesystem::is_directory(status);
  };
  const std::string kind = link ? "a symbolic link" : "a folder";
  options.private_memory_bytes = 4096;
  const auto write = writer_with_small_log(40);
  const auto forked = fork();
  // Spare files are not made of files that can't have the name.
  for (int i = 1; i <= 9; ++i) put("db.img.spare.000000000" + std::to_string(i));
  put("db.img.spill.0000000002");
  check_error(thrown_by([&] { forked->write(0, filled(100'000, 1)); }), Errc::provider_error,
              {"db.img.spill.0000000002", kind, "move it away"});
  for (int i = 0; i < 3; ++i) {
    write->write(static_cast<std::uint64_t>(i) * page_size, filled(10'000, i));
    flush(*write);
  }
  const std::size_t next = 1 + log_files();
  const std::string taken = "db.img.log.000000000" + std::to_string(next);
  put(taken);
  const auto fill = [&] {
    for (int i = 0; i < 8; ++i) {
      write->write(static_cast<std::uint64_t>(i) * page_size, filled(10'000, 50 + i));
      flush(*write);
    }
  };
  check_error(thrown_by(fill), Errc::provider_error, {taken, kind, "move it away"});
  CHECK(is_there(taken));
  CHECK(std::filesystem::file_size(target) == 3);
  std::filesystem::remove(folder.path() / taken);
  fill();
  kill();
  open();
  for (int i = 0; i < 8; ++i)
    CHECK(read_from(*reader(), static_cast<std::uint64_t>(i) * page_size, 10'000) == filled(10'000, 50 + i));
  close();
  for (int i = 1; i <= 9; ++i) CHECK(is_there("db.img.spare.000000000" + std::to_string(i)));
  CHECK(is_there("db.img.spill.0000000002"));
  CHECK(std::filesystem::file_size(target) == 3);
}

TEST_CASE_METHOD(KilledHarness, "recovery: a torn record at the end is cut, and what is before it counts") {
  leave_log(3);
  kill();
  const std::uint64_t last = first_write_at + 2 * record;
  SECTION("its data") { patch(log(), last + 150, filled(1, 77)); }
  SECTION("its header") { patch(log(), last + 20, filled(1, 77)); }
  SECTION("its end") { std::filesystem::resize_file(log(), last + 120); }
  SECTION("all of it") { std::filesystem::resize_file(log(), last); }
  open();
  CHECK(read_from(*reader(), 1000, 100) == filled(100, 2));
  CHECK(read_from(*reader(), 2000, 100) == filled(100, 0));
}

TEST_CASE_METHOD(KilledHarness,
                 "recovery: invalid bytes below the synced position are damage, and nothing is changed") {
  leave_log(3);
  kill();
  const std::uint64_t at =
      GENERATE(first_write_at + 3, first_write_at + 150, first_write_at + record + 100, records_at + 76);
  patch(log(), at, filled(1, 77));
  const auto before = names();
  const auto image_before = image();
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"db.img.log.0000000001", "was synced", "restore"});
  check_error(thrown_by([&] { storage::recover_log(files, path(), false); }), Errc::damaged, {});
  check_error(thrown_by([&] { storage::recover_log(files, path(), true); }), Errc::damaged, {});
  CHECK(names() == before);
  CHECK(image() == image_before);
  const RecoveryReport report = inspect();
  REQUIRE(report.problem);
  CHECK_FALSE(report.adoptable);
}

TEST_CASE_METHOD(KilledHarness, "recovery: a damaged segment header below the synced position is damage") {
  leave_log(3);
  kill();
  SECTION("some bytes") { patch(log(), 40, filled(4, 77)); }
  SECTION("all of it") { patch(log(), 0, filled(512, 0)); }
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"header", "was synced"});
}

TEST_CASE_METHOD(KilledHarness,
                 "recovery: a missing segment in the middle or at the front is damage when it was synced") {
  leave_log_of_many_files();
  REQUIRE(names().size() > 5);
  std::filesystem::remove(log(GENERATE(1, 2, 3)));
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"was synced"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: the mark of the last file is written, whatever mark is there") {
  leave_log_of_many_files();
  const std::string last = log(static_cast<int>(log_files()));
  std::array<std::byte, storage::log_format::segment_header_bytes> encoded{};
  std::ifstream{last, std::ios::binary}.read(reinterpret_cast<char*>(encoded.data()), encoded.size());
  storage::SegmentHeader header;
  std::uint32_t version = 0;
  REQUIRE(storage::decode_segment_header(encoded, header, version) == storage::Decoded::valid);
  REQUIRE(header.number > 2);
  // One from an earlier use of the file, where the power failed between the header's sector and the cleared mark; or
  // one that may be in memory only, after a sync that failed.
  const std::uint64_t found = GENERATE_COPY(std::uint64_t{1}, header.first_position + 8);
  std::array<std::byte, storage::log_format::mark_bytes> mark{};
  storage::encode_mark({header.salt, found}, mark);
  patch(last, storage::log_format::mark_in_segment_at, mark);
  files.fail(Call::remove, EIO, 1, 1);  // the first segment goes, the second stays
  CHECK_THROWS_AS(open(), MemoryError);
  REQUIRE_FALSE(std::filesystem::exists(log(1)));
  REQUIRE(std::filesystem::exists(log(2)));
  std::ifstream file{last, std::ios::binary};
  file.seekg(storage::log_format::mark_in_segment_at);
  file.read(reinterpret_cast<char*>(mark.data()), mark.size());
  storage::SegmentMark written;
  REQUIRE(storage::decode_mark(mark, written) == storage::Decoded::valid);
  CHECK(written.position == header.first_position);
  open();
  CHECK(read_from(*reader(), 0, 3500) == filled(3500, 6));
}

TEST_CASE_METHOD(KilledHarness, "recovery: segments that were cut away are not missed") {
  options.segment_bytes = 4096;
  options.log_bytes = 8192;
  open();
  auto write = writer();
  write->grow(3);
  std::vector<std::byte> expected(3 * page_size);
  for (int i = 0; i < 50; ++i) {
    if (!write->may_write([] {})) run_lanes();
    const auto at = static_cast<std::uint64_t>(i * 3001);
    write->write(at, filled(3500, i + 1));
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), 3500, static_cast<std::byte>(i + 1));
  }
  CHECK_FALSE(std::filesystem::exists(log(1)));
  kill();
  CHECK(inspect().segments > 1);
  open();
  CHECK(read_from(*reader(), 0, expected.size()) == expected);
}

TEST_CASE_METHOD(KilledHarness, "recovery: a log is not replayed onto another image, unless that is adopted") {
  leave_log(2);
  kill();
  std::filesystem::copy_file(path(), path() + ".copy");
  std::filesystem::rename(path() + ".copy", path());
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"inode", "pagectl recover --adopt"});
  RecoveryReport report = inspect();
  REQUIRE(report.problem);
  CHECK(report.adoptable);
  check_error(thrown_by([&] { storage::recover_log(files, path(), false); }), Errc::damaged, {"inode"});
  report = storage::recover_log(files, path(), true);
  CHECK(report.replayed);
  CHECK(report.image_pages == 3);
  open();
  CHECK(read_from(*reader(), 1000, 100) == filled(100, 2));
}

TEST_CASE_METHOD(BirthHarness, "recovery: a file that has the image's inode and was made later is another image") {
  leave_log_born(1000);
  const auto before = names();
  check_error(thrown_by([&] { open_born(2000); }), Errc::damaged,
              {"birth time 1000 ns", "this one has 2000 ns", "pagectl recover --adopt"});
  const RecoveryReport report = storage::inspect_log(born, path());
  REQUIRE(report.problem);
  CHECK(report.adoptable);
  CHECK(names() == before);
  CHECK(image().empty());
  CHECK(storage::recover_log(born, path(), true).replayed);
  CHECK(read_from(*open_now(*open_born(2000), session_request(Access::read)), 1000, 100) == filled(100, 2));
}

TEST_CASE_METHOD(BirthHarness, "recovery: a birth time that the file system does not say tells nothing") {
  const auto [then, now] = GENERATE(table<std::int64_t, std::int64_t>({{0, 2000}, {1000, 0}}));
  leave_log_born(then);
  CHECK(read_from(*open_now(*open_born(now), session_request(Access::read)), 1000, 100) == filled(100, 2));
}

TEST_CASE_METHOD(KilledHarness, "recovery: an image of a size that the log does not explain is refused") {
  leave_log(2);
  kill();
  std::filesystem::resize_file(path(), 5 * page_size);
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"at most 196608 bytes", "327680"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: an image that is smaller than when its log began is refused") {
  open();
  writer()->grow(2);
  close();
  leave_log(2);
  kill();
  std::filesystem::resize_file(path(), page_size);
  const auto before = names();
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"at least 131072 bytes", "this one has 65536"});
  CHECK(names() == before);
  CHECK(image().size() == page_size);
}

TEST_CASE_METHOD(KilledHarness, "recovery: a log whose image is gone is refused, and no image is made") {
  leave_log(1);
  kill();
  std::filesystem::remove(path());
  check_error(thrown_by([&] { open(); }), Errc::damaged, {"the image is gone", "db.img.log.0000000001"});
  check_error(thrown_by([&] { inspect(); }), Errc::damaged, {});
  CHECK(names() == std::vector<std::string>{"db.img.log.0000000001"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a log of another format version is refused by version") {
  leave_log(1);
  kill();
  SegmentHeaderBytes bytes{};
  std::ifstream{log(), std::ios::binary}.read(reinterpret_cast<char*>(bytes.data()), bytes.size());
  bytes[8] = std::byte{9};
  put_checksum(bytes);
  patch(log(), 0, bytes);
  check_error(thrown_by([&] { open(); }), Errc::unsupported, {"format 9", "formats up to 5"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a log of an earlier format is replayed") {
  const std::uint32_t format = GENERATE(1u, 2u, 3u, 4u);
  const std::uint64_t at = format == 1 ? 1024 : format == 2 ? 8192 : format == 3 ? 12288 : 16384;
  make_file(path(), 0);
  storage::FileStatus status;
  REQUIRE(files.status_of(path(), status).ok());
  storage::SegmentHeader header;
  header.format = format;
  header.salt = 7;
  header.number = 1;
  header.version = 1;
  header.image = {status.inode, status.birth_ns, 0};
  SegmentHeaderBytes encoded{};
  storage::encode_segment_header(header, encoded);
  make_file(log(), at + 80 + 120);
  patch(log(), 0, encoded);
  std::array<std::byte, storage::log_format::record_header_bytes> record_header{};
  storage::RecordHeader grown;
  grown.salt = 7;
  grown.position = at;
  grown.version = 2;
  grown.pages = 1;
  grown.payload_checksum = storage::log_checksum({});
  storage::encode_record_header(grown, record_header);
  patch(log(), at, record_header);
  std::array<std::byte, 16 + 24> payload{};
  storage::encode_range({100, 24, false}, std::span{payload}.first<16>());
  std::fill(payload.begin() + 16, payload.end(), std::byte{5});
  storage::RecordHeader written = grown;
  written.position = at + 80;
  written.version = 3;
  written.payload_bytes = payload.size();
  written.payload_checksum = storage::log_checksum(payload);
  written.range_count = 1;
  storage::encode_record_header(written, record_header);
  patch(log(), at + 80, record_header);
  patch(log(), at + 160, payload);
  if (format == 3) {
    storage::ImageNote note;
    note.salt = 7;
    note.sequence = 9;
    note.modified_ns = status.modified_ns;
    note.written_ns = files.now_ns();
    note.boot_id = files.boot().id;
    std::array<std::byte, storage::log_format::note_bytes> note_encoded;
    storage::encode_note(note, note_encoded);
    patch(log(), 8192 + 512, note_encoded);
    const auto modified = std::filesystem::last_write_time(path());
    std::filesystem::last_write_time(path(), modified + std::chrono::hours(1));
    check_error(thrown_by([&] { open(); }), Errc::damaged, {"was changed at"});
    std::filesystem::last_write_time(path(), modified);
  }
  open();
  CHECK(reader()->pages() == 1);
  CHECK(read_from(*reader(), 99, 26) == [] {
    auto bytes = filled(26, 5);
    bytes.front() = bytes.back() = std::byte{0};
    return bytes;
  }());
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: without room for a copy of the log it is written over in place") {
  leave_log(3);
  kill();
  files.refuse_direct_reads();
  const int call = GENERATE(0, 1);
  if (call == 0) {
    files.fail(Call::reserve, ENOSPC);
  } else {
    files.fail(Call::write, ENOSPC, 2, 1);  // the first are notes, in blocks that are there
  }
  open();
  CHECK(read_from(*reader(), 2000, 100) == filled(100, 3));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a log is copied only where nobody can tell that the disk has it") {
  const bool tell = GENERATE(true, false);
  leave_log(3);
  kill();
  if (!tell) files.refuse_direct_reads();
  const storage::IoResult direct =
      storage::posix_file_system().open(log(), O_RDONLY | O_DIRECT, 0);  // tmpfs has no such reads
  if (direct.ok()) storage::posix_file_system().close(static_cast<int>(direct.value));
  const std::uint64_t renames = files.calls(Call::rename);
  open();
  CHECK(files.calls(Call::rename) - renames == (tell && direct.ok() ? 0 : 1));
  CHECK(read_from(*reader(), 2000, 100) == filled(100, 3));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a record that a kill cut off is a torn end, and nothing is kept aside") {
  leave_log(3);
  kill();
  const std::byte other{0xee};
  patch(log(), first_write_at + 2 * record + 80 + 16 + 50, {&other, 1});
  open();
  CHECK(read_from(*reader(), 1000, 100) == filled(100, 2));
  CHECK(read_from(*reader(), 2000, 100) == filled(100, 0));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a file that was to be used again when a kill came holds nothing") {
  leave_log(3);
  kill();
  std::filesystem::copy_file(log(), path() + ".log.0000000002");
  open();
  CHECK(read_from(*reader(), 2000, 100) == filled(100, 3));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a read-only store refuses a pending log by name") {
  leave_log(1);
  kill();
  options.read_only = true;
  check_error(thrown_by([&] { open(); }), Errc::provider_error, {"db.img.log.0000000001"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: an error in the middle leaves all for the next try") {
  leave_log(5);
  kill();
  const Call call = GENERATE(Call::read, Call::write, Call::sync_data, Call::sync, Call::truncate, Call::remove);
  for (int skip = 0; skip < 40; ++skip) {
    files.fail(call, EIO, skip, 1);
    try {
      open();
      break;
    } catch (const MemoryError& error) {
      CHECK(error.errc() == Errc::provider_error);
    }
  }
  files.heal(call);
  open();
  for (int i = 0; i < 5; ++i)
    CHECK(read_from(*reader(), static_cast<std::uint64_t>(i) * 1000, 100) == filled(100, i + 1));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(KilledHarness, "recovery: a transaction is there whole or not at all") {
  open();
  auto write = writer(Publish::on_flush);
  write->grow(40);
  std::uint64_t expected_bytes = 0;
  for (std::uint64_t at = 0; at < 40; at += 1) {
    write->write(at * page_size, filled(page_size, 7));
    expected_bytes += page_size;
  }
  flush(*write);
  kill();
  const bool torn = GENERATE(false, true);
  // Nothing states that it was synced, so a torn one is a tail.
  if (torn) patch(log(), records_at + 80 + expected_bytes / 2, filled(1, 1));
  open();
  CHECK(reader()->pages() == (torn ? 0 : 40));
  if (!torn) CHECK(read_from(*reader(), 0, 40 * page_size) == filled(40 * page_size, 7));
}

TEST_CASE_METHOD(KilledHarness, "recovery: where there is no log there is nothing to do") {
  open();
  close();
  CHECK_FALSE(inspect().log_found);
  CHECK_FALSE(storage::recover_log(files, path(), false).replayed);
}

}  // namespace pageserver::test
