// What each kind of session of the engine sees and may do: the table of sessions, line by line.
#include "storage/log/log_index.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "engine: a write is visible to live readers when it is answered") {
  open();
  const auto write = writer();
  const auto live = reader();
  CHECK(write->grow(2) == 0);
  write->write(65530, bytes_of("across the border"));
  CHECK(read_from(*live, 65530, 17) == bytes_of("across the border"));
  CHECK(live->pages() == 2);
  CHECK(live->version().number == 3);
  CHECK(live->version() == write->version());
}

TEST_CASE_METHOD(EngineHarness, "engine: empty writes and grow(0) publish nothing") {
  open();
  const auto write = writer();
  write->grow(1);
  const auto version = write->version();
  write->write(page_size, {});
  write->zero(0, 0);
  CHECK(write->grow(0) == 1);
  CHECK(write->version() == version);
  check_error(thrown_by([&] { write->write(page_size + 1, {}); }), Errc::out_of_bounds,
              {"write offset=65537 length=0 exceeds size=65536"});
}

TEST_CASE_METHOD(EngineHarness, "engine: bounds are checked against the session's own view, and never wrap") {
  open();
  const auto write = writer();
  write->grow(1);
  const auto pin = reader(View::pinned);
  write->grow(1);
  std::vector<std::byte> one(1);
  check_error(thrown_by([&] { pin->read(page_size, one); }), Errc::out_of_bounds, {"exceeds size=65536"});
  write->read(page_size, one);
  check_error(thrown_by([&] { write->read(~0ull, one); }), Errc::out_of_bounds, {"read offset=18446744073709551615"});
  check_error(thrown_by([&] { write->zero(1, ~0ull); }), Errc::out_of_bounds, {"zero offset=1"});
}

TEST_CASE_METHOD(EngineHarness, "engine: growing past the limit changes nothing and names it") {
  options.size_bytes_max = 4 * page_size;
  open();
  const auto write = writer();
  write->grow(3);
  check_error(thrown_by([&] { write->grow(2); }), Errc::limit_exceeded,
              {"grow pages=3 new_pages=2", "size_bytes_max=262144"});
  check_error(thrown_by([&] { write->grow(~0ull); }), Errc::limit_exceeded, {"size_bytes_max"});
  CHECK(write->pages() == 3);
  CHECK(write->grow(1) == 3);
}

TEST_CASE_METHOD(EngineHarness, "engine: growing past what the file system can have is an error at once") {
  options.size_bytes_max = ~0ull;
  open();
  const auto write = writer();
  check_error(thrown_by([&] { write->grow(1ull << 47); }), Errc::limit_exceeded, {"grow"});
  CHECK(write->pages() == 0);
}

TEST_CASE_METHOD(EngineHarness, "engine: readers may not write, and their flush and discard do nothing") {
  open();
  const auto write = writer();
  write->grow(1);
  for (const View view : {View::live, View::pinned}) {
    const auto read = reader(view);
    check_error(thrown_by([&] { read->write(0, filled(1, 1)); }), Errc::read_only, {"access=read"});
    check_error(thrown_by([&] { read->zero(0, 1); }), Errc::read_only, {});
    check_error(thrown_by([&] { read->grow(1); }), Errc::read_only, {});
    flush(*read);
    read->discard();
    CHECK(read->epoch() == 0);
    CHECK(read->may_write([] {}));
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: view goes with read and publish with write only") {
  open();
  auto request = session_request(Access::write);
  request.view = View::pinned;
  check_error(thrown_by([&] { open_now(store(), request); }), Errc::invalid_argument, {"view=pinned"});
  request = session_request(Access::fork);
  request.publish = Publish::on_flush;
  check_error(thrown_by([&] { open_now(store(), request); }), Errc::invalid_argument, {"publish=on_flush"});
}

TEST_CASE_METHOD(EngineHarness, "engine: on_flush keeps writes and grows private until the flush publishes all") {
  open();
  auto write = writer(Publish::on_flush);
  const auto live = reader();
  write->grow(2);
  write->write(10, bytes_of("one"));
  write->write(page_size, bytes_of("two"));
  CHECK(live->pages() == 0);
  CHECK(write->pages() == 2);
  CHECK(read_from(*write, 8, 6) == std::vector<std::byte>{std::byte{0}, std::byte{0}, std::byte{'o'}, std::byte{'n'},
                                                          std::byte{'e'}, std::byte{0}});
  const auto flushing = start_flush(*write);
  CHECK(live->pages() == 0);  // not before it is durable
  run_lanes();
  CHECK(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(live->pages() == 2);
  CHECK(live->version().number == 2);
  CHECK(read_from(*live, page_size, 3) == bytes_of("two"));
}

TEST_CASE_METHOD(EngineHarness, "engine: discard drops private bytes and grows, and so does the session's end") {
  open();
  auto write = writer(Publish::on_flush);
  write->grow(1);
  flush(*write);
  write->write(0, bytes_of("x"));
  write->grow(3);
  write->discard();
  CHECK(write->pages() == 1);
  CHECK(read_from(*write, 0, 1) == filled(1, 0));
  write->write(0, bytes_of("y"));
  write.reset();
  CHECK(read_from(*reader(), 0, 1) == filled(1, 0));
  CHECK(store().stat(0).version.number == 2);
}

TEST_CASE_METHOD(EngineHarness, "engine: a flush in on_flush with nothing private publishes nothing") {
  open();
  const auto write = writer(Publish::on_flush);
  flush(*write);
  CHECK(write->version().number == 1);
}

TEST_CASE_METHOD(EngineHarness, "engine: a transaction larger than memory spills, and is published whole") {
  options.private_memory_bytes = 64 << 10;
  options.log_bytes = 64 << 10;
  options.segment_bytes = 64 << 10;
  open();
  const auto write = writer(Publish::on_flush);
  write->grow(300);
  std::vector<std::byte> page(page_size);
  for (std::uint64_t at = 0; at < 300; ++at) {
    std::fill(page.begin(), page.end(), static_cast<std::byte>(at % 251 + 1));
    write->write(at * page_size, page);
  }
  write->write(5, bytes_of("patched after the spill"));
  CHECK(read_from(*write, 5, 23) == bytes_of("patched after the spill"));
  flush(*write);
  const auto live = reader();
  CHECK(live->version().number == 2);
  for (std::uint64_t at = 1; at < 300; ++at)
    REQUIRE(read_from(*live, at * page_size, page_size) == filled(page_size, static_cast<int>(at % 251 + 1)));
  CHECK(read_from(*live, 4, 25)[1] == std::byte{'p'});
  CHECK(names().front() == "db.img");
  for (const auto& name : names()) CHECK(name.find("spill") == std::string::npos);
}

TEST_CASE_METHOD(EngineHarness, "engine: data_ranges names what may be data, over image, log and private bytes") {
  open();
  auto write = writer();
  write->grow(64);
  write->write(10 * page_size, filled(4096, 1));
  write.reset();
  close();
  open();
  write = writer();
  write->write(20 * page_size + 7, filled(9, 2));
  std::uint64_t until = 0;
  auto ranges = write->data_ranges(0, 64 * page_size, 100, until);
  CHECK(until == 64 * page_size);
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0].offset <= 10 * page_size);
  CHECK(ranges[0].offset + ranges[0].length >= 10 * page_size + 4096);
  CHECK(ranges[1] == ByteRange{20 * page_size + 7, 9});
  write->zero(10 * page_size, page_size);
  CHECK(write->data_ranges(0, 64 * page_size, 100, until).size() == 1);

  const auto forked = fork();
  forked->write(30 * page_size, filled(1, 3));
  forked->zero(20 * page_size, page_size);
  ranges = forked->data_ranges(0, 64 * page_size, 100, until);
  CHECK(ranges == std::vector<ByteRange>{{30 * page_size, 1}});
  ranges = write->data_ranges(0, 64 * page_size, 0, until);
  CHECK(ranges.empty());
  CHECK(until <= 20 * page_size + 7);
}

TEST_CASE_METHOD(EngineHarness, "engine: data_ranges answers in parts, whatever of the log the session must not see") {
  constexpr std::uint64_t pages = 10'000;
  open();
  const auto write = writer();
  write->grow(pages);
  const auto pin = reader(View::pinned);
  for (std::uint64_t page = 0; page < pages; ++page) write->write(page * page_size + 7, filled(1, 1));
  std::uint64_t until = 0;
  std::size_t answers = 0;
  for (std::uint64_t at = 0; at < pages * page_size; at = until, ++answers) {
    CHECK(pin->data_ranges(at, pages * page_size - at, 100, until).empty());
    REQUIRE(until > at);
  }
  CHECK(answers > 2);
}

TEST_CASE_METHOD(EngineHarness, "engine: stat tells who is there and what the store holds") {
  open();
  const auto write = writer();
  write->grow(1);
  const auto live = reader();
  const auto pin = reader(View::pinned);
  const auto forked = fork();
  write->write(0, filled(100, 1));
  forked->write(0, filled(1, 1));
  write->note_request(1'500);
  const Stat stat = store().stat(3'500);
  CHECK(stat.store == path());
  CHECK(stat.pages == 1);
  CHECK(stat.version.number == 3);
  REQUIRE(stat.writer);
  CHECK(stat.writer->name == "writer");
  CHECK(stat.writer->idle_ms == 2000);
  CHECK(stat.writer->epoch == write->epoch());
  CHECK(stat.sessions_live == 1);
  CHECK(stat.sessions_pinned == 1);
  CHECK(stat.sessions_write == 1);
  CHECK(stat.sessions_fork == 1);
  REQUIRE(stat.oldest_holder);
  CHECK(stat.oldest_holder->version_number == 2);
  CHECK(stat.held_bytes ==
        80 + 16 + 104 + storage::LogIndex::span_memory_bytes + storage::LogIndex::piece_memory_bytes);
  CHECK(stat.log_bytes == 16384 + 80 + 80 + 16 + 104);
  CHECK(stat.fork_bytes == 4096);
  CHECK(stat.checkpoint_lag_bytes == stat.log_bytes);
  CHECK(stat.last_sync_error.empty());
  CHECK(stat.image_warning.empty());
}

TEST_CASE_METHOD(EngineHarness, "engine: an image that others touch is said loudly") {
  open();
  const auto write = writer();
  write->grow(1);
  CHECK(store().stat(0).image_warning.empty());
  SECTION("its size") { std::filesystem::resize_file(path(), 3 * page_size); }
  SECTION("its name") {
    std::filesystem::rename(path(), path() + ".old");
    make_file(path(), 0);
  }
  SECTION("its bytes") {
    std::filesystem::last_write_time(path(), std::filesystem::last_write_time(path()) + std::chrono::seconds{5});
  }
  CHECK_FALSE(store().stat(0).image_warning.empty());
}

TEST_CASE_METHOD(EngineHarness, "engine: a read-only store is read and never written") {
  open();
  auto write = writer();
  write->grow(1);
  write->write(0, bytes_of("kept"));
  write.reset();
  close();
  options.read_only = true;
  open();
  CHECK(store().read_only());
  check_error(thrown_by([&] { writer(); }), Errc::read_only, {"read-only"});
  CHECK(read_from(*reader(), 0, 4) == bytes_of("kept"));
  const auto forked = fork();
  forked->write(0, bytes_of("fork"));
  CHECK(read_from(*forked, 0, 4) == bytes_of("fork"));
}

}  // namespace pageserver::test
