// Pins and forks: one version however long it is read, what that may hold back, and what a fork may grow to.
#include "storage/engine/private_bytes.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness,
                 "engine: a pinned reader and a fork see one version while all is rewritten and checkpointed") {
  options.log_bytes = 256 << 10;
  options.segment_bytes = 128 << 10;
  open();
  const auto write = writer();
  write->grow(8);
  for (std::uint64_t at = 0; at < 8; ++at) {
    write->write(at * page_size, filled(page_size, 1));
    run_lanes();
  }
  auto pin = reader(View::pinned);
  auto forked = fork();
  for (int round = 2; round < 12; ++round) {
    for (std::uint64_t at = 0; at < 8; ++at) {
      write->write(at * page_size + 100, filled(20000, round));
      run_lanes();
    }
    REQUIRE(read_from(*pin, 0, 8 * page_size) == filled(8 * page_size, 1));
    REQUIRE(read_from(*forked, 0, 8 * page_size) == filled(8 * page_size, 1));
  }
  const auto held = store().stat(0);
  CHECK(held.held_bytes > options.log_bytes);
  pin.reset();
  forked.reset();
  run_lanes();
  write->write(0, filled(1, 1));
  run_lanes();
  CHECK(store().stat(0).held_bytes == 0);
  CHECK(store().stat(0).checkpoint_lag_bytes <= options.log_bytes);
}

TEST_CASE_METHOD(EngineHarness, "engine: refresh moves a pin and names what changed") {
  open();
  const auto write = writer();
  write->grow(4);
  const auto pin = reader(View::pinned);
  CHECK(pin->refresh().changed.empty());
  write->write(10, filled(5, 1));
  write->write(15, filled(5, 1));
  write->zero(2 * page_size, 7);
  write->grow(1);
  CHECK(read_from(*pin, 10, 1) == filled(1, 0));
  const Refreshed refreshed = pin->refresh();
  CHECK_FALSE(refreshed.everything);
  CHECK(refreshed.version == write->version());
  CHECK(refreshed.pages == 5);
  CHECK(refreshed.changed == std::vector<ByteRange>{{10, 10}, {2 * page_size, 7}});
  CHECK(read_from(*pin, 10, 1) == filled(1, 1));
  CHECK(reader()->refresh().everything);
  check_error(thrown_by([&] { write->refresh(); }), Errc::unsupported, {"writer"});
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a fork is written, grown and discarded freely, and moves only when nothing is private") {
  open();
  const auto write = writer();
  write->grow(1);
  write->write(0, bytes_of("base"));
  const auto forked = fork();
  CHECK(forked->grow(2) == 1);
  forked->write(0, bytes_of("fork"));
  forked->write(2 * page_size, bytes_of("new page"));
  flush(*forked);
  write->write(0, bytes_of("next"));
  CHECK(read_from(*forked, 0, 4) == bytes_of("fork"));
  CHECK(read_from(*write, 0, 4) == bytes_of("next"));
  CHECK(write->pages() == 1);
  check_error(thrown_by([&] { forked->refresh(); }), Errc::invalid_argument, {"discard"});
  forked->discard();
  CHECK(forked->pages() == 1);
  CHECK(read_from(*forked, 0, 4) == bytes_of("base"));
  CHECK(forked->refresh().changed == std::vector<ByteRange>{{0, 4}});
  CHECK(read_from(*forked, 0, 4) == bytes_of("next"));
  CHECK(store().stat(0).fork_bytes == 0);
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a notice names the version that was given up, wherever the session is by then") {
  options.held_bytes = 10 << 10;
  open();
  const auto write = writer();
  write->grow(4);
  const auto one = reader(View::pinned), two = reader(View::pinned);
  const std::string lost = "version " + std::to_string(two->version().number) + " of";
  int notices = 0;
  // They are told one after the other, without a lock: the first to hear of it moves the second one on.
  one->on_notice([&](const MemoryError& error) {
    ++notices;
    check_error(error, Errc::snapshot_too_old, {lost});
    two->refresh();
  });
  two->on_notice([&](const MemoryError& error) {
    ++notices;
    check_error(error, Errc::snapshot_too_old, {lost});
  });
  write->write(0, filled(20'000, 1));
  CHECK(notices == 2);
  CHECK(read_from(*two, 0, 1) == filled(1, 1));
}

TEST_CASE_METHOD(EngineHarness, "engine: past held_bytes the oldest holder is given up, never the writer") {
  options.held_bytes = 112 << 10;
  options.log_bytes = 112 << 10;
  options.segment_bytes = 68 << 10;
  open();
  const auto write = writer();
  write->grow(4);
  const auto forked = fork();
  write->write(0, filled(40000, 1));
  const auto pin = reader(View::pinned);
  int notices = 0;
  forked->on_notice([&](const MemoryError& error) {
    ++notices;
    CHECK(error.errc() == Errc::snapshot_too_old);
  });
  for (int i = 0; i < 3; ++i) {
    CHECK(write->may_write([] {}));
    write->write(0, filled(26000, 2));
    run_lanes();
  }
  CHECK(notices == 1);
  std::vector<std::byte> one(1);
  check_error(thrown_by([&] { forked->read(0, one); }), Errc::snapshot_too_old, {"held_bytes=114688", "fork"});
  CHECK(read_from(*pin, 0, 1) == filled(1, 1));
  write->write(0, filled(30000, 3));
  check_error(thrown_by([&] { pin->read(0, one); }), Errc::snapshot_too_old, {"refresh"});
  // Told at once when it asks to be told later.
  int late = 0;
  pin->on_notice([&](const MemoryError&) { ++late; });
  run_lanes();
  CHECK(late == 1);
  CHECK(pin->refresh().everything);
  CHECK(read_from(*pin, 0, 1) == filled(1, 3));
  // A fork finds its way back when nothing is private.
  CHECK(forked->refresh().everything);
  CHECK(read_from(*forked, 0, 1) == filled(1, 3));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: where the index of all stores takes too much memory the oldest holders are given up") {
  static base::MemoryShare share{20'000, "limits.memory_bytes=80000"};
  options.index_memory = &share;
  open();
  auto write = writer();
  write->grow(64);
  auto oldest = reader(View::pinned);
  auto same = fork();
  for (std::uint64_t page = 0; page < 32; ++page) write->write(page * page_size, filled(8, 1));
  auto younger = reader(View::pinned);
  CHECK(share.used() > 0);
  CHECK_FALSE(share.is_exceeded());
  CHECK(read_from(*oldest, 0, 1) == filled(1, 0));
  for (std::uint64_t page = 0; page < 64 && !share.is_exceeded(); ++page)
    for (std::uint64_t at = 0; at < 64; ++at) write->write(page * page_size + at * 128, filled(8, 2));
  REQUIRE(share.is_exceeded());
  std::vector<std::byte> one(1);
  check_error(thrown_by([&] { oldest->read(0, one); }), Errc::snapshot_too_old,
              {"limits.memory_bytes=80000", "refresh the session"});
  check_error(thrown_by([&] { same->read(0, one); }), Errc::snapshot_too_old, {"open the fork again"});
  CHECK(oldest->refresh().everything);
  CHECK(read_from(*oldest, 0, 1) == filled(1, 2));
  write.reset(), oldest.reset(), same.reset(), younger.reset();
  close();
  CHECK(share.used() == 0);
}

TEST_CASE_METHOD(EngineHarness, "engine: fork bytes are bounded for each and for all, and spill") {
  options.fork_bytes = 20 * 4096;
  options.forks_bytes = 30 * 4096;
  options.private_memory_bytes = 2 * 4096;
  open();
  const auto write = writer();
  write->grow(4);
  auto first = fork();
  const auto second = fork();
  first->write(0, filled(20 * 4096, 1));
  check_error(thrown_by([&] { first->write(20 * 4096, filled(1, 1)); }), Errc::limit_exceeded, {"fork_bytes=81920"});
  first->write(5, filled(1, 2));
  second->write(0, filled(10 * 4096, 3));
  check_error(thrown_by([&] { second->write(10 * 4096, filled(1, 1)); }), Errc::limit_exceeded, {"forks_bytes=122880"});
  CHECK(store().stat(0).fork_bytes == 30 * 4096);
  CHECK(read_from(*first, 4, 3) == std::vector<std::byte>{std::byte{1}, std::byte{2}, std::byte{1}});
  first.reset();
  CHECK(store().stat(0).fork_bytes == 10 * 4096);
  second->write(10 * 4096, filled(1, 1));
  second->zero(0, 4 * page_size);
  CHECK(store().stat(0).fork_bytes == storage::PrivateBytes::block_bytes);
}

TEST_CASE_METHOD(EngineHarness, "engine: two that serve one image for reading never spill into one file") {
  open();
  writer()->grow(4);
  close();
  options.read_only = true;
  options.private_memory_bytes = 4096;
  open();
  FaultyFileSystem other_files;
  ManualBackground other_lane;
  const auto other = storage::open_engine(other_files, path(), other_lane, other_lane, options);
  const auto mine = fork();
  const auto theirs = open_now(*other, session_request(Access::fork, "fork"));
  // Their files would have the same name. Theirs comes after each call that makes or removes mine.
  const Call between = GENERATE(Call::open, Call::remove);
  bool met = false;
  files.before(between, [&] {
    if (!std::exchange(met, true)) theirs->write(0, filled(3 * page_size, 2));
  });
  mine->write(0, filled(3 * page_size, 1));
  CHECK(met);
  theirs->write(3 * page_size, filled(page_size, 3));
  CHECK(read_from(*mine, 0, 3 * page_size) == filled(3 * page_size, 1));
  CHECK(read_from(*mine, 3 * page_size, page_size) == filled(page_size, 0));
  CHECK(read_from(*theirs, 0, 3 * page_size) == filled(3 * page_size, 2));
  CHECK(names() == std::vector<std::string>{"db.img"});
}

TEST_CASE_METHOD(EngineHarness, "engine: a spill that fails changes nothing and harms nobody else") {
  options.private_memory_bytes = 4096;
  open();
  const auto write = writer();
  write->grow(2);
  const auto forked = fork();
  forked->write(0, filled(8192, 1));
  files.fail(Call::write, ENOSPC, 1);
  check_error(thrown_by([&] { forked->write(100, filled(20000, 2)); }), Errc::no_space, {"spill"});
  files.heal(Call::write);
  CHECK(read_from(*forked, 0, 8192) == filled(8192, 1));
  CHECK(read_from(*forked, 8192, 20000) == filled(20000, 0));
  write->write(0, filled(1, 9));
  CHECK(read_from(*write, 0, 1) == filled(1, 9));
}

}  // namespace pageserver::test
