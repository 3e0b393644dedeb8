// Syncs are counted, shared, held and failed; disks fill up. What was answered stays true.
#include <sys/stat.h>

#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "engine: a flush is one append and one sync in the common case") {
  open();
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  const auto write = writer(publish);
  write->grow(4);
  write->write(0, filled(10, 1));
  flush(*write);  // makes the log's file and reserves the image's blocks
  const auto before = [&] { return std::pair{files.calls(Call::write), syncs(files)}; }();
  const auto opened = files.calls(Call::open);
  write->write(5, filled(100, 2));
  flush(*write);
  CHECK(files.calls(Call::write) - before.first == 1);
  CHECK(syncs(files) - before.second == 1);
  CHECK(files.calls(Call::open) == opened);
  flush(*write);  // nothing new
  CHECK(syncs(files) - before.second == 1);
}

TEST_CASE_METHOD(EngineHarness, "engine: a write on its own is one append, no sync, and a read of it no more") {
  open();
  const auto write = writer();
  write->grow(1);
  write->write(0, filled(8, 1));
  const auto writes = files.calls(Call::write), syncs_before = syncs(files), reads = files.calls(Call::read);
  write->write(8, filled(8, 2));
  CHECK(files.calls(Call::write) == writes + 1);
  CHECK(read_from(*write, 8, 8) == filled(8, 2));
  CHECK(files.calls(Call::read) == reads);
  CHECK(syncs(files) == syncs_before);
}

TEST_CASE_METHOD(EngineHarness, "engine: the disk begins with what is written before a sync asks for it") {
  options.log_bytes = 32 << 20;
  open();
  const auto write = writer();
  write->grow(256);
  const auto data = filled(page_size, 3);
  for (std::uint64_t page = 0; page < 224; ++page) {  // 14 MiB: less than starts a checkpoint
    write->write(page * page_size, data);
    run_lanes();
  }
  const auto for_log = files.calls(Call::start_writeback);
  CHECK(for_log >= 3);  // each 4 MiB
  CHECK(for_log <= 8);  // of which some lie in two files
  CHECK(files.calls(Call::sync_data) == 0);
  for (std::uint64_t page = 0; page < 64; ++page) {
    write->write(page * page_size, data);
    run_lanes();
  }
  CHECK(store().stat(0).checkpoint_lag_bytes < 16u << 20);
  CHECK(files.calls(Call::start_writeback) > for_log + 3);  // each step of the checkpoint
}

TEST_CASE_METHOD(EngineHarness, "engine: writes that come together are one publish and one append") {
  open();
  const auto write = writer();
  write->grow(4);
  write->write(0, filled(8, 1));
  const auto writes = files.calls(Call::write);
  const auto version = write->version();
  // In no order, of several sizes, over several pages, some at each other's border.
  std::vector<std::vector<std::byte>> data;
  for (int i = 0; i < 64; ++i) data.push_back(filled(static_cast<std::size_t>(1 + i * 16), i + 2));
  std::vector<storage::StoreSession::Write> together;
  for (std::uint64_t i = 0; i < 64; ++i) together.push_back({(i * 37 % 64) * 4000, data[i]});
  CHECK(write->write_together(together));
  CHECK(files.calls(Call::write) == writes + 1);
  CHECK(write->version().number == version.number + 1);
  const auto check = [&](storage::StoreSession& session) {
    for (const auto& one : together)
      REQUIRE(read_from(session, one.offset, one.data.size()) ==
              std::vector<std::byte>{one.data.begin(), one.data.end()});
  };
  check(*write);
  kill();
  open();
  const auto read = reader();
  check(*read);
}

TEST_CASE_METHOD(EngineHarness, "engine: writes that can't be published together change nothing") {
  open();
  const auto write = writer();
  write->grow(1);
  const auto version = write->version();
  const auto one = filled(8, 1), two = filled(8, 2);
  using Writes = std::vector<storage::StoreSession::Write>;
  CHECK_FALSE(write->write_together(Writes{{0, one}, {7, two}}));                             // overlap
  CHECK_FALSE(write->write_together(Writes{{0, one}, {65536, two}}));                         // out of bounds
  CHECK_FALSE(write->write_together(Writes{{0, one}, {~0ull, two}}));                         // wraps
  CHECK_FALSE(write->write_together(Writes{{0, one}, {100, std::span<const std::byte>{}}}));  // empty
  CHECK(write->version() == version);
  CHECK(read_from(*write, 0, 200) == std::vector<std::byte>(200));
  files.fail(Call::write, ENOSPC);
  CHECK_FALSE(write->write_together(Writes{{0, one}, {100, two}}));
  CHECK(write->version() == version);
  const auto fork_session = fork();
  CHECK_FALSE(fork_session->write_together(Writes{{0, one}, {100, two}}));
  store().break_lease(0, "test");
  CHECK_FALSE(write->write_together(Writes{{0, one}, {100, two}}));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: while a sync is held, others read and write, and all who flush then share the next") {
  open();
  auto first = writer();
  first->grow(1);
  first->write(0, filled(10, 1));
  const auto live = reader();
  const auto pin = reader(View::pinned);
  std::shared_ptr<Flushing> second;
  std::unique_ptr<storage::StoreSession> next;
  int held = 0;
  files.before(Call::sync_data, [&] {
    if (held++ != 0) return;
    for (int i = 0; i < 10000; ++i) REQUIRE(read_from(*live, 0, 10) == filled(10, 1));
    for (int i = 0; i < 10000; ++i) REQUIRE(read_from(*pin, 0, 10) == filled(10, 1));
    // The first writer waits for its flush: its lease goes to another, who writes meanwhile.
    store().break_lease(0, "test");
    next = writer();
    for (int i = 0; i < 10000; ++i) next->write(0, filled(10, 2));
    second = start_flush(*next);
  });
  const auto flushing = start_flush(*first);
  run_lanes();
  CHECK(held == 2);
  CHECK(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(second->calls == 1);
  CHECK_FALSE(second->error);
  CHECK(read_from(*live, 0, 10) == filled(10, 2));
  CHECK(read_from(*pin, 0, 10) == filled(10, 1));
}

TEST_CASE_METHOD(EngineHarness, "engine: flushes that wait together share one sync") {
  open();
  auto first = writer();
  first->grow(1);
  const auto one = start_flush(*first);
  store().break_lease(0, "test");
  auto second = writer();
  second->write(0, filled(1, 1));
  const auto two = start_flush(*second);
  store().break_lease(0, "test");
  auto third = writer(Publish::on_flush);
  third->write(1, filled(1, 2));
  const auto three = start_flush(*third);
  const auto data_syncs = files.calls(Call::sync_data);
  run_lanes();
  CHECK(files.calls(Call::sync_data) == data_syncs + 1);
  CHECK(one->calls + two->calls + three->calls == 3);
  CHECK(read_from(*reader(), 0, 2) == std::vector<std::byte>{std::byte{1}, std::byte{2}});
}

TEST_CASE_METHOD(EngineHarness, "engine: a stream of small writes does not put a sync off") {
  open();
  auto first = writer();
  first->grow(1);
  flush(*first);
  first->write(0, filled(8, 1));
  const auto flushing = start_flush(*first);
  store().break_lease(0, "test");
  const auto second = writer();
  // The lane gets its turn while every other write is being appended.
  bool turn = false;
  files.before(Call::write, [&] {
    if (turn) sync_lane.run_one();
  });
  for (int i = 0; i < 6 && flushing->calls == 0; ++i) {
    turn = i % 2 == 0;
    second->write(8, filled(8, i));
  }
  files.before(Call::write, nullptr);
  CHECK(flushing->calls == 1);
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: after a failed sync nothing is called durable until the store recovered, and reads go on") {
  open();
  auto write = writer();
  write->grow(1);
  write->write(0, filled(4, 1));
  flush(*write);
  write->write(0, filled(4, 2));
  files.fail(Call::sync_data, EIO, 0, 1);
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"sync failed", "EIO"});
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"restart"});
  check_error(thrown_by([&] { write->write(0, filled(4, 3)); }), Errc::provider_error, {"restart"});
  CHECK(write->may_write([] {}));
  CHECK(read_from(*reader(), 0, 4) == filled(4, 2));
  CHECK(store().stat(0).last_sync_error.find("EIO") != std::string::npos);
  write.reset();
  check_error(thrown_by([&] { store().close(); }), Errc::provider_error, {"db.img.log.0000000001"});
  open();
  CHECK(read_from(*reader(), 0, 4) == filled(4, 2));
  flush(*writer());
}

TEST_CASE_METHOD(EngineHarness, "engine: a transaction whose sync fails is not visible") {
  open();
  const auto write = writer(Publish::on_flush);
  write->grow(1);
  files.fail(Call::sync_data, EIO, 0, 1);
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {});
  CHECK(reader()->pages() == 0);
}

TEST_CASE_METHOD(EngineHarness, "engine: a failed sync of the image or of a directory is as final") {
  options.log_bytes = 4096;
  options.segment_bytes = 4096;
  open();
  const auto write = writer();
  write->grow(1);
  flush(*write);
  SECTION("of the image") {
    write->write(0, filled(3000, 1));
    flush(*write);
    files.fail(Call::sync_data, EIO, 0, 1);
    run_lanes();
    write->write(0, filled(3000, 1));
  }
  SECTION("of the log's directory") {
    files.fail(Call::sync, EIO, 0, 1);
    write->write(0, filled(3500, 1));  // in a new segment
    check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {});
  }
  run_lanes();
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"restart"});
  write->note_request(0);
  CHECK(read_from(*write, 0, 1) == filled(1, 1));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a failed sync while the log is cut is told like any other, and loses nothing") {
  auto write = writer_with_small_log();
  for (int i = 1; i <= 4; ++i) write->write(0, filled(10'000, i));
  start_flush(*write);
  while (sync_lane.run_one()) {
  }
  SECTION("of the mark that says where the log begins") { files.fail(Call::sync_data, EIO, 0, 1); }
  SECTION("of the image") { files.fail(Call::sync, EIO, 0, 1); }
  SECTION("of the removal of its oldest file") { files.fail(Call::sync, EIO, 1, 1); }
  run_lanes();
  CHECK(store().stat(0).last_sync_error.find("EIO") != std::string::npos);
  check_error(thrown_by([&] { write->write(0, filled(1, 7)); }), Errc::provider_error, {"EIO", "restart"});
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"EIO", "restart"});
  CHECK(read_from(*reader(), 0, 10'000) == filled(10'000, 4));
  write.reset();
  kill();
  open();
  CHECK(read_from(*reader(), 0, 10'000) == filled(10'000, 4));
}

TEST_CASE_METHOD(EngineHarness, "engine: no space for the log or the image's blocks publishes nothing") {
  open();
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  const auto write = writer(publish);
  write->grow(4);
  flush(*write);
  const auto version = write->version();
  const auto change = [&] {
    write->write(page_size, filled(5000, 1));
    if (publish == Publish::on_flush) flush(*write);
  };
  SECTION("image blocks") {
    files.fail(Call::reserve, ENOSPC);
    check_error(thrown_by(change), Errc::no_space, {"ENOSPC"});
    files.heal(Call::reserve);
  }
  SECTION("the append") {
    files.fail(Call::write, ENOSPC);
    check_error(thrown_by(change), Errc::no_space, {"ENOSPC"});
    files.heal(Call::write);
    // The checkpoint that was to make room could not say in the log that the image changes. The next one can.
    if (publish == Publish::on_flush) {
      check_error(thrown_by(change), Errc::no_space, {"can't be copied into the image"});
      run_lanes();
    }
  }
  SECTION("the append, after a part of it") {
    files.transfer_at_most(1000);
    files.fail(Call::write, ENOSPC, 3);
    check_error(thrown_by(change), Errc::no_space, {"ENOSPC"});
    files.heal(Call::write);
    files.transfer_at_most(~0ull);
  }
  CHECK(reader()->version() == version);
  change();
  CHECK(reader()->version().number == version.number + 1);
  kill();
  open();
  CHECK(read_from(*reader(), page_size, 5000) == filled(5000, 1));
  CHECK(read_from(*reader(), page_size + 5000, 100) == filled(100, 0));
}

TEST_CASE_METHOD(EngineHarness, "engine: of what a refused publish reserved, the image's file keeps nothing") {
  open();
  writer()->grow(8);
  close();
  open();
  const auto write = writer(Publish::on_flush);
  write->write(0, filled(10, 1));
  flush(*write);  // the log has its file
  const auto image_blocks = [&] {
    struct stat status {};
    REQUIRE(::stat(path().c_str(), &status) == 0);
    return status.st_blocks;
  };
  const auto before = image_blocks();
  for (int had = 0; had < 3; ++had) {
    write->grow(4);
    // Three runs: two in holes, one past the file's end.
    for (const std::uint64_t page : {2u, 4u, 10u}) write->write(page * page_size + 100, filled(5'000, 2));
    files.fail(Call::reserve, ENOSPC, had);
    check_error(thrown_by([&] { flush(*write); }), Errc::no_space, {"ENOSPC"});
    files.heal(Call::reserve);
    write->discard();
    CHECK(image_blocks() == before);
  }
  // All had, and then the record can't be written.
  write->grow(4);
  for (const std::uint64_t page : {2u, 4u, 10u}) write->write(page * page_size + 100, filled(5'000, 2));
  files.fail(Call::write, ENOSPC);
  check_error(thrown_by([&] { flush(*write); }), Errc::no_space, {"ENOSPC"});
  files.heal(Call::write);
  CHECK(image_blocks() == before);
  flush(*write);
  CHECK(image_blocks() > before);
  CHECK(read_from(*write, 10 * page_size + 100, 5'000) == filled(5'000, 2));
}

TEST_CASE_METHOD(EngineHarness, "engine: a file system that can't reserve or punch is used without") {
  files.fail(Call::reserve, EOPNOTSUPP);
  files.fail(Call::punch_hole, EOPNOTSUPP);
  open();
  auto write = writer();
  write->grow(2);
  write->write(0, filled(2 * page_size, 1));
  flush(*write);
  write->zero(0, page_size);
  write.reset();
  close();
  CHECK(image()[0] == std::byte{0});
  CHECK(image()[page_size] == std::byte{1});
}

TEST_CASE_METHOD(EngineHarness, "engine: past log_bytes the writer waits for room and the log is cut") {
  options.log_bytes = 128 << 10;
  options.segment_bytes = 64 << 10;
  options.checkpoint_step_bytes = 16 << 10;
  open();
  const auto write = writer();
  write->grow(8);
  int rooms = 0, waits = 0;
  for (int i = 0; i < 200; ++i) {
    const auto room = [&] { ++rooms; };
    if (!write->may_write(room)) {
      ++waits;
      check_error(thrown_by([&] { write->write(0, filled(1, 1)); }), Errc::limit_exceeded, {"log_bytes=131072"});
      run_lanes();
      REQUIRE(rooms == waits);
      REQUIRE(write->may_write(room));
    }
    write->write(static_cast<std::uint64_t>(i % 7) * page_size + 1, filled(page_size, i + 1));
    CHECK(store().stat(0).checkpoint_lag_bytes <= options.log_bytes + page_size + 4096);
  }
  CHECK(waits > 20);
  run_lanes();
  CHECK(names().size() <= 5);
  CHECK(read_from(*write, 3 * page_size + 1, page_size)[page_size - 1] == std::byte{200 - 1 - 3 + 1 + 3});
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a checkpoint that can't finish keeps the log and refuses writes, until it can") {
  options.log_bytes = 64 << 10;
  options.segment_bytes = 64 << 10;
  open();
  auto write = writer();
  write->grow(4);
  write->write(0, filled(page_size, 1));
  files.fail(Call::truncate, ENOSPC);
  flush(*write);
  write->may_write([] {});
  run_lanes();
  write->may_write([] {});
  check_error(thrown_by([&] { write->write(0, filled(1, 2)); }), Errc::no_space, {"can't be copied into the image"});
  CHECK(read_from(*reader(), 0, 1) == filled(1, 1));
  SECTION("it can") {
    files.heal(Call::truncate);
    run_lanes();
    write->write(0, filled(1, 2));
    CHECK(read_from(*reader(), 0, 1) == filled(1, 2));
  }
  SECTION("a stop in that state names the log, which the next start replays") {
    write.reset();
    check_error(thrown_by([&] { store().close(); }), Errc::no_space, {"db.img.log.0000000001"});
    kill();
    files.heal(Call::truncate);
    open();
    CHECK(read_from(*reader(), 0, page_size) == filled(page_size, 1));
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: a clean stop leaves the plain image and nothing else") {
  options.segment_bytes = 8192;
  open();
  auto write = writer();
  write->grow(3);
  for (int i = 0; i < 20; ++i) write->write(static_cast<std::uint64_t>(i) * 5000, filled(5000, i + 1));
  write->zero(2 * page_size, page_size);
  write.reset();
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
  auto expected = filled(3 * page_size, 0);
  for (int i = 0; i < 20; ++i) std::fill_n(expected.begin() + i * 5000, 5000, static_cast<std::byte>(i + 1));
  CHECK(image() == expected);
  open();
  CHECK(reader()->pages() == 3);
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: an error of one session's read is that session's, and EINTR and short calls are nobody's") {
  open();
  auto write = writer();
  write->grow(1);
  write->write(0, filled(5000, 1));
  const auto live = reader();
  files.fail(Call::read, EIO, 0, 1);
  check_error(thrown_by([&] { read_from(*live, 0, 5000); }), Errc::provider_error, {"EIO"});
  CHECK(read_from(*live, 0, 5000) == filled(5000, 1));
  files.transfer_at_most(700);
  for (const Call call : {Call::read, Call::write, Call::sync_data, Call::sync, Call::truncate, Call::reserve,
                          Call::open, Call::remove, Call::status})
    files.interrupt(call);
  write->write(5000, filled(5000, 2));
  flush(*write);
  CHECK(read_from(*live, 0, 5000) == filled(5000, 1));
  write.reset();
  const auto flushed = read_from(*live, 0, page_size);
  kill();
  open();
  CHECK(read_from(*reader(), 0, page_size) == flushed);
}

TEST_CASE_METHOD(EngineHarness, "engine: what the image holds when it is opened is synced before anybody reads it") {
  std::ofstream(path()) << std::string(page_size, 'x');  // by someone who ended before a flush
  const std::uint64_t before = files.calls(Call::sync);
  open();
  CHECK(files.calls(Call::sync) == before + 2);  // the folder too
  close();
  files.fail(Call::sync, EIO, 0, 1);
  check_error(thrown_by([&] { open(); }), Errc::provider_error, {"sync", path()});
}

}  // namespace pageserver::test
