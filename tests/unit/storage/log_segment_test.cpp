#include "storage/log/log_format.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "log: after a segment that could not be made, nothing goes into the one before it") {
  options.segment_bytes = 32 * 1024;
  open();
  {
    const auto session = writer();
    session->grow(2);
    session->write(0, bytes_of("before"));
    // The next segment gets its header, but not its record; and its removal fails as well, so that it stays.
    files.fail(Call::write, EIO, 1, 1);
    files.fail(Call::remove, EIO, 0, 1);
    check_error(thrown_by([&] { session->write(page_size, filled(40'000, 7)); }), Errc::provider_error, {"EIO"});
    REQUIRE(std::filesystem::exists(log(2)));
    files.heal(Call::write);
    files.heal(Call::remove);
    session->write(10, bytes_of("after"));
    flush(*session);
  }
  kill();
  open();
  const auto found = reader();
  CHECK(read_from(*found, 0, 6) == bytes_of("before"));
  CHECK(read_from(*found, 10, 5) == bytes_of("after"));
  CHECK(read_from(*found, page_size, 40'000) == filled(40'000, 0));
}

namespace {

/// A store whose second segment got its header and not its record, and could not be removed either.
class LeftHarness : public EngineHarness {
public:
  void leave_second_segment() {
    options.segment_bytes = 32 * 1024;
    open();
    const auto session = writer();
    session->grow(2);
    session->write(0, bytes_of("before"));
    flush(*session);
    files.fail(Call::write, EIO, 1, 1);
    files.fail(Call::remove, EIO);
    check_error(thrown_by([&] { session->write(page_size, filled(40'000, 7)); }), Errc::provider_error, {"EIO"});
    files.heal(Call::write);
    REQUIRE(std::filesystem::exists(log(2)));
  }
  void check_content() {
    const auto found = reader();
    CHECK(found->pages() == 2);
    CHECK(read_from(*found, 0, 6) == bytes_of("before"));
    CHECK(read_from(*found, page_size, 40'000) == filled(40'000, 0));
  }
};

}  // namespace

TEST_CASE_METHOD(LeftHarness, "log: a segment that could not be removed is removed when the store closes") {
  leave_second_segment();
  files.heal(Call::remove);
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
  open();
  check_content();
}

TEST_CASE_METHOD(LeftHarness, "log: a close that can't remove a segment is not clean, and loses nothing") {
  leave_second_segment();
  check_error(thrown_by([&] { store().close(); }), Errc::provider_error,
              {"db.img.log.0000000002", "EIO", "the log stays at", "db.img.log.0000000001", "is replayed"});
  CHECK(names() == std::vector<std::string>{"db.img", "db.img.log.0000000001", "db.img.log.0000000002"});
  SECTION("closed once more, when it can be removed") {
    files.heal(Call::remove);
    close();
    CHECK(names() == std::vector<std::string>{"db.img"});
    open();
    check_content();
  }
  SECTION("opened again") {
    kill();
    // As long as it can't be removed, nothing is made beside it.
    check_error(thrown_by([&] { open(); }), Errc::provider_error, {"db.img.log.000000000", "EIO"});
    files.heal(Call::remove);
    open();
    CHECK(log_files() == 0);
    check_content();
    const auto session = writer();
    session->write(10, bytes_of("after"));
    flush(*session);
    kill();
    open();
    check_content();
    CHECK(read_from(*reader(), 10, 5) == bytes_of("after"));
    close();
    CHECK(names() == std::vector<std::string>{"db.img"});
  }
}

TEST_CASE_METHOD(EngineHarness, "log: a first segment that could neither be made nor removed is named by the close") {
  open();
  {
    const auto session = writer();
    files.fail(Call::write, EIO, 1, 1);
    files.fail(Call::remove, EIO);
    check_error(thrown_by([&] { session->grow(1); }), Errc::provider_error, {"EIO"});
    files.heal(Call::write);
  }
  check_error(thrown_by([&] { store().close(); }), Errc::provider_error,
              {"db.img.log.0000000001", "EIO", "is in the image", "the next opening removes it"});
  kill();
  files.heal(Call::remove);
  open();
  CHECK(reader()->pages() == 0);
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness, "log: spare files that can't be removed are named by the close, and tried again") {
  {
    const auto session = writer_with_small_log();
    for (int i = 0; i < 12; ++i) {
      session->write(0, filled(10'000, i));
      flush(*session);
    }
  }
  const std::size_t spares = spare_files();
  REQUIRE(spares > 1);
  files.fail(Call::remove, EIO, static_cast<int>(log_files()) + 1, 1);
  check_error(thrown_by([&] { store().close(); }), Errc::provider_error,
              {"db.img.spare.", "EIO", "is in the image", "the next opening removes it"});
  CHECK(spare_files() == 1);
  CHECK(log_files() == 0);
  SECTION("closed once more") { close(); }
  SECTION("opened again") {
    kill();
    open();
    CHECK(read_from(*reader(), 0, 10'000) == filled(10'000, 11));
    close();
  }
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness, "log: a record that is written in parts comes back whole, whatever its length") {
  const std::size_t length = (16u << 20) + GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{7});
  open();
  auto bytes = filled(length, 5);
  bytes.front() = bytes.back() = std::byte{6};
  const auto session = writer();
  session->grow(257);
  session->write(1, bytes);
  session->write(0, bytes_of("after"));
  kill();
  open();
  std::copy_n(bytes_of("after").begin() + 1, 4, bytes.begin());
  CHECK((read_from(*reader(), 1, length) == bytes));
}

TEST_CASE_METHOD(EngineHarness, "log: a transaction of megabytes that was spilled comes back whole") {
  options.private_memory_bytes = 4096;
  const std::size_t length = 3'000'001;
  open();
  const auto session = writer(Publish::on_flush);
  session->grow(50);
  session->write(5, filled(length, 4));
  flush(*session);
  kill();
  open();
  CHECK((read_from(*reader(), 5, length) == filled(length, 4)));
}

TEST_CASE_METHOD(EngineHarness, "log: a spare file that can't be used again is removed, and a new one is made") {
  const auto session = writer_with_small_log();
  for (int i = 0; i < 12; ++i) {
    session->write(0, filled(10'000, i));
    flush(*session);
  }
  const auto before = spare_files();
  REQUIRE(before > 0);
  files.fail(Call::rename, EIO, 0, 1);
  session->write(0, filled(10'000, 77));
  CHECK(spare_files() == before - 1);
  files.heal(Call::rename);
  kill();
  open();
  CHECK(read_from(*reader(), 0, 10'000) == filled(10'000, 77));
}

TEST_CASE_METHOD(EngineHarness, "log: a spare file that can't be written again is not left behind") {
  auto session = writer_with_small_log();
  for (int i = 0; i < 12; ++i) {
    session->write(0, filled(10'000, i));
    flush(*session);
  }
  const auto before = log_files() + spare_files();
  REQUIRE(spare_files() > 0);
  files.fail(Call::write, EIO);
  check_error(thrown_by([&] { session->write(0, filled(10'000, 77)); }), Errc::provider_error, {"EIO"});
  files.heal(Call::write);
  CHECK(log_files() + spare_files() == before - 1);
  session->write(0, filled(10'000, 78));
  session.reset();
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness, "log: small records meet blocks that were written, by one write for many of them") {
  open();
  const auto session = writer();
  session->grow(1);
  session->write(0, bytes_of("first"));
  flush(*session);
  const auto count = [&](int records, std::size_t bytes) {
    const auto before = files.calls(Call::write);
    for (int i = 0; i < records; ++i) {
      session->write(0, filled(bytes, i));
      flush(*session);
    }
    return files.calls(Call::write) - before;
  };
  // A block for each record and 256 KiB a piece: of 128 records two meet the end of what was written.
  CHECK(count(128, 100) == 128 + 2);
  // Large ones write their blocks themselves.
  CHECK(count(8, 40'000) == 8);
  kill();
  open();
  CHECK(read_from(*reader(), 0, 40'000) == filled(40'000, 7));
}

TEST_CASE_METHOD(EngineHarness,
                 "log: blocks that could not be written ahead refuse the record, and the next one goes on") {
  open();
  const auto session = writer();
  session->grow(1);
  session->write(0, bytes_of("first"));
  flush(*session);
  int refused = 0;
  for (int i = 0; i < 130; ++i) {
    // The next write is of zeros only where a piece ends: then the record behind it is never written.
    files.fail(Call::write, EIO, 1, 1);
    try {
      session->write(0, filled(100, i));
    } catch (const MemoryError&) {
      ++refused;
    }
    files.heal(Call::write);
    session->write(0, filled(100, i));
    flush(*session);
  }
  CHECK(refused == 2);
  kill();
  open();
  CHECK(read_from(*reader(), 0, 100) == filled(100, 129));
}

// A cut between the look at the file's size and the write that makes the file as large as it was.
TEST_CASE_METHOD(EngineHarness, "log: a record that makes its file larger just after that was cut is refused") {
  const bool in_parts = GENERATE(false, true);
  const bool in_the_record = in_parts && GENERATE(false, true);
  CAPTURE(in_parts, in_the_record);
  options.log_sizes.one_write_bytes_max = in_parts ? 4096 : options.log_sizes.one_write_bytes_max;
  options.log_sizes.part_bytes = 16384;
  open();
  const auto session = writer();
  session->grow(10);
  session->write(0, filled(300'000, 1));  // larger than what is written ahead
  flush(*session);
  const auto kept = std::filesystem::file_size(log()) - 10'000;
  // Of a record in parts the writes are of its table, of each part, and of its header.
  int writes = in_the_record ? -3 : 0;
  files.before(Call::write, [&] {
    if (writes++ == 0) std::filesystem::resize_file(log(), in_the_record ? kept + 10'100 : kept);
  });
  CHECK_THROWS_WITH(session->write(0, filled(400'000, 2)), Contains("was emptied or cut by somebody"));
  files.before(Call::write, [] {});
  CHECK(writes > 0);
  CHECK_THROWS_AS(flush(*session), MemoryError);
  CHECK(read_from(*reader(), 500'000, 3) == filled(3, 0));
}

// Its record is whole before the look, so that a recovery takes it: to refuse it then would bring it back later.
TEST_CASE_METHOD(EngineHarness, "log: a look for a cut that fails refuses no record") {
  open();
  const auto session = writer();
  session->grow(10);
  session->write(0, filled(300'000, 1));
  flush(*session);
  files.fail(Call::read, EIO);
  CHECK_NOTHROW(session->write(0, filled(400'000, 2)));
  files.heal(Call::read);
  flush(*session);
  kill();
  open();
  CHECK(read_from(*reader(), 0, 400'000) == filled(400'000, 2));
}

// A loss of power in the middle of that would leave a segment without a header.
TEST_CASE_METHOD(EngineHarness,
                 "log: a header that was synced is not written again after the sync of the folder failed") {
  open();
  const auto session = writer();
  session->grow(1);
  session->write(0, bytes_of("first"));
  constexpr std::streamoff unused = storage::log_format::segment_header_bytes - 1;
  files.before(Call::sync, [&] { std::fstream{log(), std::ios::in | std::ios::out}.seekp(unused).put('x'); });
  files.fail(Call::sync, EIO);
  CHECK_THROWS_AS(flush(*session), MemoryError);
  files.before(Call::sync, [] {});
  std::ifstream file{log()};
  CHECK(file.seekg(unused).get() == 'x');
}

}  // namespace pageserver::test
