// Checkpoints against what is in their way: files that can't be removed, descriptors used up, reads that hang.
#include <future>

#include "storage/thread_background.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "engine: a log file that could not be removed is removed at the next try") {
  options.log_bytes_max = 64 << 10;
  options.segment_bytes = 16 << 10;
  open();
  auto write = writer();
  write->grow(2);
  for (int i = 0; i < 4; ++i) write->write(0, filled(10'000, i));
  start_flush(*write);
  files.fail(Call::remove, EIO, 0, 1);
  run_lanes();
  check_error(thrown_by([&] { write->write(0, filled(1, 7)); }), Errc::provider_error,
              {"can't be copied into the image", "remove"});
  SECTION("by a write, which is let in then") {
    run_lanes();  // nothing is to be copied
    write->write(0, filled(1, 7));
    run_lanes();
    CHECK(names().size() == 2);
    CHECK(read_from(*reader(), 0, 1) == filled(1, 7));
  }
  SECTION("by a clean stop") {
    write.reset();
    close();
    CHECK(names() == std::vector<std::string>{"db.img"});
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: to be out of descriptors is no failed sync") {
  options.log_bytes_max = 64 << 10;
  options.segment_bytes = 16 << 10;
  open();
  auto write = writer();
  write->grow(2);
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
  CHECK(files.calls(Call::remove) > 2);
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
  options.log_bytes_max = 256 << 10;
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
  CHECK(store->stat(0).checkpoint_lag_bytes <= options.log_bytes_max + 2000);
  write.reset();
  live.reset();
  store->close();
}

TEST_CASE_METHOD(EngineHarness, "engine: the memory that finds many small pieces counts as held") {
  options.held_bytes_max = 4 << 20;
  options.log_bytes_max = 64 << 20;
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
  options.fork_bytes_max = 4 << 20;
  options.private_memory_bytes_max = 1 << 20;
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

}  // namespace pageserver::test
