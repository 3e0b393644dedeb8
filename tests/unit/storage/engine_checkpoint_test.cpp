// Checkpoints against what is in their way: files that can't be removed, descriptors used up, reads that hang.
#include <sys/stat.h>

#include <future>
#include <thread>

#include "storage/engine/thread_background.hpp"
#include "tests/support/skip.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "engine: a log file that could not be taken from the log is taken at the next try") {
  const Call call = GENERATE(Call::rename, Call::remove);
  auto write = writer_with_small_log();
  // A file that is no larger than others waits to be used again; a larger one goes.
  if (call == Call::remove) write->write(0, filled(30'000, 1));
  for (int i = 0; i < (call == Call::remove ? 2 : 4); ++i) write->write(0, filled(10'000, i));
  start_flush(*write);
  files.fail(call, EIO, 0, 1);
  run_lanes();
  check_error(thrown_by([&] { write->write(0, filled(1, 7)); }), Errc::provider_error,
              {"can't be copied into the image", call == Call::rename ? "rename" : "remove"});
  SECTION("by a write, which is let in then") {
    run_lanes();  // nothing is to be copied
    write->write(0, filled(1, 7));
    run_lanes();
    CHECK(log_files() == 1);
    CHECK(read_from(*reader(), 0, 1) == filled(1, 7));
  }
  SECTION("by a clean stop") {
    write.reset();
    close();
    CHECK(names() == std::vector<std::string>{"db.img"});
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: to be out of descriptors is no failed sync") {
  auto write = writer_with_small_log();
  write->write(0, filled(10'000, 1));
  // The log's first file is there and its directory entry is not durable yet; later ones can't be made.
  files.fail(Call::open, EMFILE);
  flush(*write);
  check_error(thrown_by([&] { write->write(0, filled(10'000, 2)); }), Errc::limit_exceeded, {"EMFILE"});
  run_lanes();
  CHECK(store().stat(0).last_sync_error.empty());
  files.heal(Call::open);
  for (int i = 0; i < 8; ++i) {
    write->write(0, filled(10'000, 3));
    // Neither a checkpoint that marks and removes files of the log needs one.
    files.fail(Call::open, EMFILE);
    start_flush(*write);
    run_lanes();
    files.heal(Call::open);
  }
  CHECK(files.calls(Call::rename) > 2);
  CHECK(store().stat(0).last_sync_error.empty());
  write.reset();
  files.fail(Call::open, EMFILE);
  close();
  files.heal(Call::open);
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE("engine: while a read hangs in the disk and a checkpoint waits for it, 10,000 writes complete") {
  TempDir folder;
  FaultyFileSystem files;
  storage::ThreadBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options;
  options.salt = 1;
  options.log_bytes = 256 << 10;
  options.segment_bytes = 64 << 10;
  const auto store = storage::open_engine(files, folder.file("db.img"), sync_lane, checkpoint_lane, options);
  auto write = open_now(*store, session_request(Access::write, "writer"));
  auto live = open_now(*store, session_request(Access::read, "reader"));
  write->grow(4);
  std::promise<void> reached, release;
  std::atomic<bool> holds{false};
  files.before(Call::read, [&, released = release.get_future().share()] {
    if (!holds.exchange(false)) return;
    reached.set_value();
    released.wait();
  });
  write->write(0, filled(2000, 1));
  holds = true;
  std::vector<std::byte> seen(2000);
  std::thread hanging{[&] { live->read(0, seen); }};
  reached.get_future().get();
  // Room is there, or is told of, although nothing of the log can be copied.
  const auto wait_for_room = [&] {
    for (;;) {
      std::promise<void> room;
      if (write->may_write([&] { room.set_value(); })) return;
      room.get_future().get();
    }
  };
  for (int i = 0; i < 10'000; ++i) {
    wait_for_room();
    write->write(page_size, filled(1000, 2));
  }
  const Stat stat = store->stat(0);
  CHECK(stat.checkpoint_lag_bytes > 10'000'000 / 2);  // the checkpoint did wait
  CHECK(stat.held_bytes >= stat.checkpoint_lag_bytes);
  release.set_value();
  hanging.join();
  CHECK(seen == filled(2000, 1));
  // With the read over the log comes back within its bound.
  for (int i = 0; i < 2; ++i) {
    wait_for_room();
    write->write(2 * page_size, filled(1000, 3));
  }
  CHECK(store->stat(0).checkpoint_lag_bytes <= options.log_bytes + 2000);
  write.reset();
  live.reset();
  store->close();
}

TEST_CASE_METHOD(EngineHarness, "engine: what is read from the log again and again comes into the image") {
  open();
  auto write = writer();
  write->grow(32);
  const auto offset_of = [](int page) { return static_cast<std::uint64_t>(page) * page_size; };
  for (int page = 0; page < 32; ++page) write->write(offset_of(page), filled(page_size, page));
  flush(*write);
  run_lanes();
  const auto reads_of_files = [&](int times) {
    const std::uint64_t before = files.calls(Call::read);
    for (int i = 0; i < times; ++i) CHECK(read_from(*write, offset_of(i % 32), 100) == filled(100, i % 32));
    run_lanes();
    return files.calls(Call::read) - before;
  };
  // As often as it takes to copy 32 pages.
  CHECK(reads_of_files(8 * 32) == 8 * 32);
  CHECK(store().stat(0).checkpoint_lag_bytes > 32 * page_size);
  CHECK(reads_of_files(1) > 32);
  CHECK(store().stat(0).checkpoint_lag_bytes == 0);
}

TEST_CASE_METHOD(EngineHarness, "engine: the memory that finds many small pieces counts as held") {
  options.held_bytes = 4 << 20;
  options.log_bytes = 32 << 20;
  options.segment_bytes = 8 << 20;
  open();
  auto write = writer();
  write->grow(64);
  write->write(0, filled(64 * page_size, 1));
  flush(*write);
  write.reset();
  const auto pin = reader(View::pinned);
  const auto bystander = reader(View::pinned);
  // 17 bytes of the log for each piece, and many times that in memory, for what is new and what it replaces.
  const auto session = writer(Publish::on_flush);
  for (std::uint64_t at = 0; at < 60'000; ++at) session->write(at * 69, filled(1, 2));
  CHECK(store().stat(0).held_bytes == 0);
  flush(*session);
  std::vector<std::byte> one(1);
  check_error(thrown_by([&] { pin->read(0, one); }), Errc::snapshot_too_old, {"held_bytes"});
  check_error(thrown_by([&] { bystander->read(0, one); }), Errc::snapshot_too_old, {"held_bytes"});
  CHECK(store().stat(0).held_bytes == 0);
  // And it counts against the log's bound, so that a checkpoint clears it away.
  run_lanes();
  CHECK(store().stat(0).checkpoint_lag_bytes < 2 << 20);
}

TEST_CASE_METHOD(EngineHarness, "engine: a million changes of one byte in a fork stay within bounds, read right") {
  options.fork_bytes = 4 << 20;
  options.private_memory_bytes = 1 << 20;
  open();
  auto write = writer();
  write->grow(64);
  write->write(0, filled(64 * page_size, 1));
  flush(*write);
  const auto forked = fork();
  for (std::uint64_t at = 0; at < 1'000'000; ++at) forked->write(at * 2, filled(1, 2));
  CHECK(store().stat(0).fork_bytes == (2'000'000 + 4095) / 4096 * 4096);
  auto expected = filled(2'000'000, 1);
  for (std::size_t at = 0; at < expected.size(); at += 2) expected[at] = std::byte{2};
  CHECK(read_from(*forked, 0, 2'000'000) == expected);
  std::uint64_t until = 0;
  // What one finds by asking is no finer than the blocks.
  CHECK(forked->data_ranges(0, 64 * page_size, 100, until).size() <= 66);
  CHECK(until == 64 * page_size);
  CHECK(read_from(*reader(), 0, 2'000'000) == filled(2'000'000, 1));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: while somebody writes, a checkpoint copies in proportion to what is appended") {
  options.log_bytes = 8 << 20;
  options.checkpoint_step_bytes = page_size;
  options.checkpoint_pace = GENERATE(2u, 0u);
  open();
  auto write = writer();
  write->grow(64);
  // 40 pages, and half of the log.
  for (std::uint64_t i = 0; i < 66; ++i) write->write(i % 40 * page_size, filled(page_size, 1));
  start_flush(*write);
  while (sync_lane.run_one()) {
  }
  // Somebody writes in the middle of each step.
  bool writing = false;
  std::uint64_t appended = 0, own_writes = 0;
  files.before(Call::write, [&] {
    if (std::exchange(writing, true)) return;
    write->write(50 * page_size + 7, filled(1000, 2));
    appended += 1000;
    ++own_writes;
    writing = false;
  });
  const auto copied_pages = [&, before = files.calls(Call::write)] {
    return files.calls(Call::write) - before - own_writes;
  };
  while (checkpoint_lane.run_one()) {
  }
  if (options.checkpoint_pace == 0) {
    CHECK(copied_pages() >= 40);
    return;
  }
  // Beside pages there are notes in the log: that the image changes, of the round and of who writes.
  std::uint64_t notes = 4;
  CHECK(copied_pages() <= 3 + notes + 2 * appended / page_size);
  SECTION("it goes on with what is appended") {
    for (int i = 0; i < 20; ++i) {
      const auto pages_before = copied_pages();
      writing = true;
      write->write(60 * page_size, filled(page_size, 3));
      ++own_writes;
      appended += page_size;
      writing = false;
      while (checkpoint_lane.run_one()) {
      }
      notes += 2;  // it begins, and it waits again
      CHECK(copied_pages() > pages_before);
      CHECK(copied_pages() <= 4 + notes + 2 * appended / page_size);
      if (copied_pages() >= 40) break;
    }
    CHECK(copied_pages() >= 30);
  }
  files.before(Call::write, {});
  SECTION("it goes on when two looks find that nothing was appended") {
    static_cast<void>(store().stat(0));
    static_cast<void>(store().stat(0));
    run_lanes();
    CHECK(copied_pages() >= 40);
  }
  SECTION("it goes on when the writer's session ends") {
    write.reset();
    run_lanes();
    CHECK(copied_pages() >= 40);
  }
  SECTION("it goes on when the log is half full") {
    for (std::uint64_t page = 0; page < 40; ++page) write->write(page * page_size, filled(page_size, 4));
    own_writes += 40;
    while (checkpoint_lane.run_one()) {
    }
    CHECK(copied_pages() >= 40);
  }
  write.reset();
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness, "engine: a log file gives back what it was made larger for when the next is made") {
  options.log_bytes = 16 << 20;  // files of 2 MiB
  open();
  const auto write = writer();
  write->grow(64);
  const auto allocated = [&](int number) {
    struct stat found {};
    REQUIRE(::stat(log(number).c_str(), &found) == 0);
    return static_cast<std::uint64_t>(found.st_blocks) * 512;
  };
  write->write(0, filled(1'200'000, 1));
  if (allocated(1) < 2 << 20) return skip("the file system does not make room ahead");
  CHECK(allocated(1) <= (2 << 20) + 8192);
  write->write(0, filled(1'200'000, 2));  // in the second file
  CHECK(allocated(1) < 1'300'000);
  CHECK(read_from(*write, 0, 1'200'000) == filled(1'200'000, 2));
}

TEST_CASE_METHOD(EngineHarness, "engine: hundreds of small changes of a page are read, and checkpointed, by one call") {
  open();
  auto write = writer();
  write->grow(2);
  write->write(0, filled(2 * page_size, 1));
  write.reset();
  close();
  open();
  write = writer();
  auto expected = filled(2 * page_size, 1);
  for (std::uint64_t i = 0; i < 300; ++i) {
    const std::uint64_t offset = i * 40'009 % (page_size - 8);
    const auto data = i % 10 == 0 ? filled(8, 0) : filled(8, static_cast<unsigned char>(i));
    write->write(offset, data);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  const std::uint64_t reads = files.calls(Call::read);
  CHECK(read_from(*write, 0, 2 * page_size) == expected);
  CHECK(files.calls(Call::read) - reads == 1);
  CHECK(read_from(*write, 20'000, 9'000) ==
        std::vector<std::byte>(expected.begin() + 20'000, expected.begin() + 29'000));
  write.reset();
  const bool readable = GENERATE(true, false);
  const std::uint64_t writes = files.calls(Call::write);
  if (!readable) files.fail(Call::read, EIO);
  close();
  files.heal(Call::read);
  // Beside it there are two notes in the log: changing, and settled again.
  if (readable) CHECK(files.calls(Call::write) - writes == 1 + 2);
  CHECK(image() == expected);
}

TEST_CASE_METHOD(EngineHarness, "engine: files that leave the log are used again, and none is left behind") {
  auto write = writer_with_small_log();
  const std::uint64_t removed = files.calls(Call::remove);
  for (int i = 0; i < 40; ++i) {
    write->write(0, filled(10'000, i));
    start_flush(*write);
    run_lanes();
    CHECK(log_files() + spare_files() <= 5);  // the log's bound in files, and the one that is written to
  }
  CHECK(spare_files() > 0);
  CHECK(files.calls(Call::remove) == removed);
  CHECK(files.calls(Call::rename) > 60);  // out of the log, and back into it
  SECTION("after a clean stop") {
    write.reset();
    close();
  }
  SECTION("after a kill, with what older segments had behind the last record") {
    write->write(page_size, filled(3, 77));
    kill();
    open();
    CHECK(spare_files() == 0);
    CHECK(read_from(*reader(), page_size, 3) == filled(3, 77));
    close();
  }
  CHECK(names() == std::vector<std::string>{"db.img"});
  const auto found = image();
  CHECK(std::vector<std::byte>(found.begin(), found.begin() + 10'000) == filled(10'000, 39));
}

TEST_CASE_METHOD(EngineHarness, "engine: a file that somebody still reads from is not used again") {
  auto write = writer_with_small_log();
  const auto live = reader();
  for (std::uint64_t i = 0; i < 3; ++i) write->write(i == 0 ? 0 : page_size, filled(10'000, 1));
  start_flush(*write);
  while (sync_lane.run_one()) {
  }
  const auto own_thread = std::this_thread::get_id();
  std::promise<void> reads, may_read;
  files.before(Call::read, [&] {
    if (std::this_thread::get_id() == own_thread) return;
    reads.set_value();
    may_read.get_future().wait();
  });
  std::future<std::vector<std::byte>> read;
  files.before(Call::write, [&] {  // the checkpoint's first: it waits for nobody any more
    if (read.valid()) return;
    read = std::async(std::launch::async, [&] { return read_from(*live, 0, 10'000); });
    reads.get_future().wait();
  });
  run_lanes();
  files.before(Call::write, {});
  REQUIRE(read.valid());
  CHECK(spare_files() == 2);
  for (int i = 0; i < 3; ++i) write->write(page_size, filled(10'000, 2));
  CHECK(spare_files() == 1);
  may_read.set_value();
  CHECK(read.get() == filled(10'000, 1));
  files.before(Call::read, {});
  write->write(page_size, filled(10'000, 3));
  CHECK(spare_files() == 0);
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: what makes reads slow is checkpointed once somebody reads it, and not before") {
  open();
  auto write = writer();
  write->grow(2);
  for (std::uint64_t i = 0; i < 8000; ++i) write->write(i * 7, filled(5, static_cast<unsigned char>(i)));
  run_lanes();
  const std::uint64_t lag = store().stat(0).checkpoint_lag_bytes;
  CHECK(lag > 8000 * 100);
  SECTION("a few bytes are no reason") {
    CHECK(read_from(*write, 7, 5) == filled(5, 1));
    run_lanes();
    CHECK(store().stat(0).checkpoint_lag_bytes == lag);
  }
  SECTION("a read of many pieces is") {
    const auto before = read_from(*write, 0, page_size);
    run_lanes();
    CHECK(store().stat(0).checkpoint_lag_bytes == 0);
    CHECK(read_from(*write, 0, page_size) == before);
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: a write that was let in is not refused because a read ended meanwhile") {
  auto write = writer_with_small_log(4);
  write->write(page_size, filled(page_size, 1));
  write.reset();
  close();
  open();
  write = writer();
  const auto live = reader();
  std::promise<void> reads, may_read;
  const auto own_thread = std::this_thread::get_id();
  files.before(Call::read, [&] {
    if (std::this_thread::get_id() == own_thread) return;
    reads.set_value();
    may_read.get_future().wait();
  });
  auto read = std::async(std::launch::async, [&] { return read_from(*live, page_size, 100); });
  reads.get_future().wait();
  for (int i = 0; i < 3; ++i) write->write(0, filled(10'000, i));
  run_lanes();  // a checkpoint waits for that read
  while (store().stat(0).checkpoint_lag_bytes <= options.log_bytes) {
    REQUIRE(write->may_write([] {}));
    write->write(0, filled(10'000, 7));
  }
  REQUIRE(write->may_write([] {}));
  may_read.set_value();
  CHECK(read.get() == filled(100, 1));
  write->write(0, filled(10'000, 8));
  // Once.
  CHECK_FALSE(write->may_write([] {}));
  check_error(thrown_by([&] { write->write(0, filled(10'000, 9)); }), Errc::limit_exceeded, {"limits.log_bytes"});
  files.before(Call::read, {});
  run_lanes();
  CHECK(write->may_write([] {}));
}

}  // namespace pageserver::test
