// Transactions that are too large to be appended on the caller's thread: the lane does it, and nobody waits for them.
#include <future>

#include "storage/engine/thread_background.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t large_pages = 48;  // above the default of inline_commit_bytes

void write_large(storage::StoreSession& session, int value) {
  for (std::uint64_t page = 0; page < large_pages; ++page) session.write(page * page_size, filled(page_size, value));
}

}  // namespace

TEST_CASE("engine: while the append of a large transaction is held, 10,000 reads complete on the thread that flushed") {
  TempDir folder;
  FaultyFileSystem files;
  storage::ThreadBackground sync_lane, checkpoint_lane;
  storage::EngineOptions options;
  options.salt = 1;
  const auto store = storage::open_engine(files, folder.file("db.img"), sync_lane, checkpoint_lane, options);
  auto request = session_request(Access::write, "writer");
  request.publish = Publish::on_flush;
  auto write = open_now(*store, request);
  auto live = open_now(*store, session_request(Access::read, "reader"));
  write->grow(large_pages);
  write_large(*write, 1);
  std::promise<void> reached, release, answered;
  std::atomic<bool> holds{true};
  files.before(Call::write, [&, released = release.get_future().share()] {
    if (!holds.exchange(false)) return;
    reached.set_value();
    released.wait();
  });
  write->flush(
      [&](std::exception_ptr error, const Version&) { error ? answered.set_exception(error) : answered.set_value(); });
  reached.get_future().get();
  for (int i = 0; i < 10'000; ++i) REQUIRE(live->pages() == 0);
  std::uint64_t until = 0;
  CHECK(live->data_ranges(0, 0, 1, until).empty());
  release.set_value();
  answered.get_future().get();
  CHECK(live->pages() == large_pages);
  for (int i = 0; i < 10; ++i) CHECK(read_from(*live, 7 * page_size, page_size) == filled(page_size, 1));

  // The same with bytes to be read.
  write_large(*write, 2);
  std::promise<void> reached_again, release_again, answered_again;
  holds = true;
  files.before(Call::write, [&, released = release_again.get_future().share()] {
    if (!holds.exchange(false)) return;
    reached_again.set_value();
    released.wait();
  });
  write->flush([&](std::exception_ptr error, const Version&) {
    error ? answered_again.set_exception(error) : answered_again.set_value();
  });
  reached_again.get_future().get();
  for (int i = 0; i < 10'000; ++i) REQUIRE(read_from(*live, 100, 8) == filled(8, 1));
  release_again.set_value();
  answered_again.get_future().get();
  CHECK(read_from(*live, 100, 8) == filled(8, 2));
  write.reset();
  live.reset();
  store->close();
}

TEST_CASE_METHOD(EngineHarness, "engine: a large transaction makes no call to the disk before its flush returns") {
  const bool many_ranges = GENERATE(false, true);
  if (many_ranges) options.inline_commit_bytes = ~0ull;
  open();
  auto write = writer(Publish::on_flush);
  write->grow(large_pages);
  if (!many_ranges) {
    write_large(*write, 1);
  } else {
    for (std::uint64_t at = 0; at < 5000; ++at) write->write(at * 500, filled(8, 1));
  }
  const auto writes = files.calls(Call::write), reserves = files.calls(Call::reserve);
  const auto flushing = start_flush(*write);
  CHECK(files.calls(Call::write) == writes);
  CHECK(files.calls(Call::reserve) == reserves);
  CHECK(flushing->calls == 0);
  run_lanes();
  CHECK(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(read_from(*reader(), 0, 8) == filled(8, 1));
}

TEST_CASE_METHOD(EngineHarness, "engine: a large commit on the way is applied or refused before the next lease") {
  open();
  auto write = writer(Publish::on_flush);
  write->grow(large_pages);
  flush(*write);
  write_large(*write, 1);
  const auto flushing = start_flush(*write);
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  bool applied = false;
  bool hooked = false;
  SECTION("the lease is broken before the append") { store().break_lease(0, "test"); }
  SECTION("the lease is broken during the append") {
    files.before(Call::write, [&] {
      if (std::exchange(hooked, true)) return;
      store().break_lease(0, "test");
      CHECK(next->calls == 0);
    });
    applied = true;
  }
  SECTION("the session ends before the append") {
    write.reset();
    applied = true;
  }
  SECTION("the session ends during the append") {
    files.before(Call::write, [&] {
      if (std::exchange(hooked, true)) return;
      write.reset();
      CHECK(next->calls == 0);
    });
    applied = true;
  }
  CHECK(next->calls == 0);
  run_lanes();
  files.before(Call::write, {});
  REQUIRE(next->calls == 1);
  REQUIRE(next->session);
  CHECK(flushing->calls == (write ? 1 : 0));
  if (write && !applied) {
    REQUIRE(flushing->error);
    check_error(thrown_by([&] { std::rethrow_exception(flushing->error); }), Errc::lease_lost, {"test"});
  }
  if (write && applied) CHECK_FALSE(flushing->error);
  CHECK(read_from(*next->session, 0, 1) == filled(1, applied ? 1 : 0));
  CHECK(next->session->version().number == (applied ? 3 : 2));
}

TEST_CASE_METHOD(EngineHarness, "engine: a store that is closed or goes while a large commit waits is whole") {
  open();
  auto write = writer(Publish::on_flush);
  write->grow(large_pages);
  flush(*write);
  write_large(*write, 1);
  const auto flushing = start_flush(*write);
  write.reset();
  SECTION("closed") { close(); }
  SECTION("gone") { kill(); }
  run_lanes();
  CHECK(flushing->calls == 0);
  open();
  CHECK(reader()->pages() == large_pages);
  CHECK(read_from(*reader(), 0, 1) == filled(1, 0));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a large commit that can't be appended changes nothing and can be tried again") {
  open();
  const auto write = writer(Publish::on_flush);
  write->grow(large_pages);
  write_large(*write, 1);
  files.fail(Call::write, EIO, 1, 1);  // the segment's header is written
  check_error(thrown_by([&] { flush(*write); }), Errc::provider_error, {"EIO"});
  CHECK(reader()->pages() == 0);
  CHECK(read_from(*write, 5, 1) == filled(1, 1));
  flush(*write);
  CHECK(reader()->pages() == large_pages);
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a commit whose append meets a sync that failed meanwhile is answered with it") {
  options.log_bytes = 64 << 10;
  options.segment_bytes = 64 << 10;
  open();
  auto first = writer();
  first->grow(large_pages);
  first->write(0, filled(40'000, 1));
  flush(*first);
  first->write(0, filled(40'000, 2));  // a checkpoint is due
  start_flush(*first);
  while (sync_lane.run_one()) {
  }
  first.reset();
  const auto write = writer(Publish::on_flush);
  write_large(*write, 3);
  const auto flushing = start_flush(*write);
  bool failed = false;
  const auto fail_a_sync = [&] {
    if (std::exchange(failed, true)) return;
    files.fail(Call::sync_data, EIO, 0, 1);
    while (checkpoint_lane.run_one()) {
    }
    REQUIRE_FALSE(store().stat(0).last_sync_error.empty());
  };
  SECTION("before it") { fail_a_sync(); }
  SECTION("during it") { files.before(Call::write, fail_a_sync); }
  run_lanes();
  REQUIRE(flushing->calls == 1);
  REQUIRE(flushing->error);
  check_error(thrown_by([&] { std::rethrow_exception(flushing->error); }), Errc::provider_error, {"restart"});
  CHECK(read_from(*reader(), 0, 1) == filled(1, 2));
}

// Whoever breaks the lease or ends the session wakes the commit, so that it is refused.
TEST_CASE_METHOD(EngineHarness, "engine: a commit that waits for room appends nothing while the log changes files") {
  open();
  {
    const auto write = writer();
    write->grow(4);
    write->write(0, filled(10'000, 1));
  }
  auto transaction = writer(Publish::on_flush);
  transaction->write(3 * page_size, filled(10'000, 2));
  files.fail(Call::reserve, ENOSPC);
  const auto flushing = start_flush(*transaction);
  REQUIRE(flushing->calls == 0);
  bool changes_files = false;
  const bool ends_session = GENERATE(false, true);
  files.before(Call::open, [&] {
    if (std::exchange(changes_files, true)) return;
    files.heal(Call::reserve);
    if (ends_session)
      transaction.reset();
    else
      store().break_lease(0, "test");
    // The checkpoint's lane is about to append; the other one has nothing to do until it has.
    CHECK(sync_lane.waiting() == 0);
    sync_lane.run_all();
  });
  run_lanes();
  files.before(Call::open, {});
  CHECK(changes_files);
  if (!ends_session) {
    REQUIRE(flushing->calls == 1);
    check_error(thrown_by([&] { std::rethrow_exception(flushing->error); }), Errc::lease_lost, {"test"});
  }
  transaction.reset();
  auto next = writer();
  next->write(page_size, filled(100, 3));
  flush(*next);
  next.reset();
  kill();
  open();
  CHECK(read_from(*reader(), 0, 10'000) == filled(10'000, 1));
  CHECK(read_from(*reader(), page_size, 100) == filled(100, 3));
  // A session that ends while its flush is under way does not take that back.
  CHECK(read_from(*reader(), 3 * page_size, 10'000) == filled(10'000, ends_session ? 2 : 0));
}

}  // namespace pageserver::test
