// What a write and a flush cost, counted at the seam, and what a store still does once the disk refuses.
#include <fcntl.h>

#include <future>

#include "storage/engine/thread_background.hpp"
#include "tests/support/skip.hpp"
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

/// Calls at the seam since it was made, without those that only look.
class Bill {
public:
  explicit Bill(const FaultyFileSystem& files) : files_{files} {
    for (std::size_t i = 0; i < call_count; ++i) before_[i] = files_.calls(static_cast<Call>(i));
  }
  std::uint64_t of(Call call) const { return files_.calls(call) - before_[static_cast<std::size_t>(call)]; }
  /// Everything that changes a file or waits for a disk.
  std::uint64_t all() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < call_count; ++i) {
      const auto call = static_cast<Call>(i);
      if (call != Call::read && call != Call::status && call != Call::status_of && call != Call::close) sum += of(call);
    }
    return sum;
  }

private:
  const FaultyFileSystem& files_;
  std::array<std::uint64_t, call_count> before_{};
};

/// A store in its steady state: four pages that were written and flushed before, a log that is open.
class Steady : public EngineHarness {
public:
  Steady() {
    open();
    const auto first = writer();
    first->grow(4);
    first->write(0, filled(4 * page_size, 1));
    flush(*first);
    // The first small record has blocks written ahead of it, 256 KiB: more than a test here goes on to fill.
    first->write(0, filled(100, 1));
    flush(*first);
  }
};

storage::FileStatus status_of(const std::string& path) {
  storage::FileStatus status;
  REQUIRE(storage::posix_file_system().status_of(path, status).ok());
  return status;
}

/// Whether the file system under the test's folder can reserve blocks at all.
bool can_reserve(const TempDir& folder) {
  auto& files = storage::posix_file_system();
  const auto probe = files.open(folder.file("probe"), O_RDWR | O_CREAT, 0600);
  REQUIRE(probe.ok());
  const bool can = files.reserve(static_cast<int>(probe.value), 0, page_size).ok();
  files.close(static_cast<int>(probe.value));
  REQUIRE(std::filesystem::remove(folder.file("probe")));
  return can;
}

}  // namespace

TEST_CASE_METHOD(Steady, "store: a write and its flush are one append and one sync, and no other call") {
  const auto session = writer();
  for (int round = 0; round < 20; ++round) {
    const Bill written{files};
    session->write(static_cast<std::uint64_t>(round) * 10'000, filled(round == 7 ? 70'000 : 100, round));
    CHECK(written.of(Call::write) == 1);
    CHECK(written.all() == 1);
    const Bill flushed{files};
    flush(*session);
    CHECK(flushed.of(Call::sync_data) == 1);
    CHECK(flushed.all() == 1);
  }
}

TEST_CASE_METHOD(Steady, "store: a transaction of several writes is one append and one sync, and no other call") {
  const auto session = writer(Publish::on_flush);
  for (int round = 0; round < 20; ++round) {
    const Bill bill{files};
    for (std::uint64_t i = 0; i < 15; ++i) session->write(i * 13'000 + 7, filled(100 + i, round));
    session->zero(5, 1'000);
    CHECK(bill.all() == 0);  // private until the flush
    flush(*session);
    CHECK(bill.of(Call::write) == 1);
    CHECK(bill.of(Call::sync_data) == 1);
    CHECK(bill.all() == 2);
  }
  CHECK(read_from(*reader(), 13'007, 101) == filled(101, 19));
}

TEST_CASE_METHOD(Steady, "store: ten flushes that wait when the sync begins share it") {
  std::vector<std::unique_ptr<storage::StoreSession>> writers;
  std::vector<std::shared_ptr<Flushing>> flushes;
  for (int i = 0; i < 10; ++i) {
    writers.push_back(writer());
    writers.back()->write(static_cast<std::uint64_t>(i), filled(1, i));
    flushes.push_back(start_flush(*writers.back()));
    store().break_lease(0, "the next writer's turn");
  }
  const Bill bill{files};
  run_lanes();
  CHECK(bill.of(Call::sync_data) == 1);
  CHECK(bill.all() == 1);
  for (const auto& flushing : flushes) {
    CHECK(flushing->calls == 1);
    CHECK_FALSE(flushing->error);
  }
}

TEST_CASE_METHOD(Steady, "store: a flush that comes while a sync runs is not answered by that sync") {
  auto first = writer();
  first->write(0, filled(1, 2));
  std::unique_ptr<storage::StoreSession> second;
  std::shared_ptr<Flushing> late;
  int synced = 0;
  files.before(Call::sync_data, [&] {
    if (++synced != 1) {
      CHECK(late->calls == 0);
      return;
    }
    store().break_lease(0, "the next writer's turn");
    second = writer();
    second->write(0, filled(1, 3));
    late = start_flush(*second);
  });
  flush(*first);
  CHECK(synced == 2);
  CHECK(late->calls == 1);
}

TEST_CASE_METHOD(EngineHarness, "store: the image's blocks are reserved before a flush is answered") {
  if (!can_reserve(folder)) return skip("the file system of the test's folder can't reserve blocks");
  open();
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  const auto session = writer(publish);
  session->grow(64);
  flush(*session);
  const auto before = status_of(path());
  std::uint64_t reserved_at_sync = 0;
  files.before(Call::sync_data, [&] { reserved_at_sync = status_of(path()).allocated_bytes; });
  session->write(8 * page_size + 5, filled(16 * page_size, 1));
  const auto flushing = start_flush(*session);
  sync_lane.run_all();  // appends, then syncs; and no checkpoint
  REQUIRE(flushing->calls == 1);
  REQUIRE_FALSE(flushing->error);
  CHECK(reserved_at_sync - before.allocated_bytes >= 17 * page_size);
  CHECK(status_of(path()).size_bytes == before.size_bytes);
}

TEST_CASE_METHOD(EngineHarness, "store: what was answered fits: a checkpoint asks the disk for no more blocks") {
  if (!can_reserve(folder)) return skip("the file system of the test's folder can't reserve blocks");
  open();
  auto session = writer(Publish::on_flush);
  session->grow(32);
  for (std::uint64_t page = 0; page < 32; page += 3) session->write(page * page_size + 100, filled(40'000, 1));
  flush(*session);
  const auto reserved = status_of(path()).allocated_bytes;
  session.reset();
  close();
  CHECK(status_of(path()).size_bytes == 32 * page_size);
  CHECK(status_of(path()).allocated_bytes <= reserved);
}

TEST_CASE("store: while one store's sync is held, another store's flushes are answered") {
  TempDir folder;
  FaultyFileSystem held_files, free_files;
  std::promise<void> holding, go_on;
  storage::ThreadBackground held_sync, held_checkpoint, free_sync, free_checkpoint;
  const auto held = storage::open_engine(held_files, folder.file("held.img"), held_sync, held_checkpoint, {});
  const auto free = storage::open_engine(free_files, folder.file("free.img"), free_sync, free_checkpoint, {});
  held_files.before(Call::sync_data, [&, once = false]() mutable {
    if (std::exchange(once, true)) return;
    holding.set_value();
    go_on.get_future().wait_for(std::chrono::seconds{60});
  });
  const auto held_writer = open_now(*held, session_request(Access::write));
  const auto free_writer = open_now(*free, session_request(Access::write));
  held_writer->grow(1);
  free_writer->grow(1);
  const auto flush = [](storage::StoreSession& session) {
    auto done = std::make_shared<std::promise<void>>();
    session.flush(
        [done](std::exception_ptr error, const Version&) { error ? done->set_exception(error) : done->set_value(); });
    return done->get_future();
  };
  auto held_flush = flush(*held_writer);
  holding.get_future().wait();
  for (int i = 0; i < 50; ++i) {
    free_writer->write(0, filled(10, i));
    auto answered = flush(*free_writer);
    REQUIRE(answered.wait_for(std::chrono::seconds{30}) == std::future_status::ready);
    CHECK_NOTHROW(answered.get());
  }
  CHECK(held_flush.wait_for(std::chrono::seconds{0}) == std::future_status::timeout);
  go_on.set_value();
  REQUIRE(held_flush.wait_for(std::chrono::seconds{30}) == std::future_status::ready);
  CHECK_NOTHROW(held_flush.get());
}

TEST_CASE_METHOD(Steady, "store: after a failed sync nothing is called durable, and every kind of reader reads on") {
  const auto pin = reader(View::pinned);
  const auto branch = fork();
  auto session = writer();
  session->write(0, filled(4, 2));
  files.fail(Call::sync_data, EIO, 0, 1);  // the next one would "succeed", as on Linux
  check_error(thrown_by([&] { flush(*session); }), Errc::provider_error, {"EIO"});
  const Bill bill{files};
  check_error(thrown_by([&] { flush(*session); }), Errc::provider_error, {"restart"});
  session.reset();
  session = writer();  // a new session gets no other answer
  check_error(thrown_by([&] { flush(*session); }), Errc::provider_error, {"restart"});
  session.reset();
  session = writer(Publish::on_flush);
  session->write(0, filled(4, 3));
  check_error(thrown_by([&] { flush(*session); }), Errc::provider_error, {"restart"});
  CHECK(bill.all() == 0);
  CHECK(read_from(*pin, 0, 4) == filled(4, 1));
  CHECK(read_from(*branch, 0, 4) == filled(4, 1));
  branch->write(0, filled(4, 9));
  CHECK(read_from(*branch, 0, 4) == filled(4, 9));
  CHECK(read_from(*reader(), 0, 4) == filled(4, 2));
  CHECK(read_from(*reader(View::pinned), 0, 4) == filled(4, 2));
}

TEST_CASE_METHOD(Steady, "store: an append that fails is its writer's error alone, and writing works once it can") {
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  const int written_before_it_fails = GENERATE(0, 1);
  const auto pin = reader(View::pinned);
  const auto branch = fork();
  const auto live = reader();
  const auto session = writer(publish);
  const auto version = live->version();
  const auto change = [&] {
    session->write(page_size - 3, filled(9'000, 2));
    if (publish == Publish::on_flush) flush(*session);
  };
  if (written_before_it_fails != 0) files.transfer_at_most(4'096);
  files.fail(Call::write, EIO, written_before_it_fails);
  for (int i = 0; i < 3; ++i) {
    files.fail(Call::write, EIO, written_before_it_fails);
    check_error(thrown_by(change), Errc::provider_error, {"EIO"});
    CHECK(live->version() == version);
    for (auto* other : {pin.get(), branch.get(), live.get()})
      CHECK(read_from(*other, page_size - 3, 9'000) == filled(9'000, 1));
    branch->write(0, filled(5, 6));
  }
  files.heal(Call::write);
  files.transfer_at_most(std::numeric_limits<std::size_t>::max());
  if (publish == Publish::on_flush)
    flush(*session);  // the transaction is still there
  else
    change();
  CHECK(read_from(*live, page_size - 3, 9'000) == filled(9'000, 2));
  CHECK(live->version().number == version.number + 1);
  if (publish == Publish::on_write) flush(*session);
  kill();
  open();
  CHECK(read_from(*reader(), page_size - 3, 9'000) == filled(9'000, 2));
}

TEST_CASE_METHOD(EngineHarness,
                 "store: a checkpoint that finds no room keeps the log, and what was flushed comes back") {
  options.log_bytes = 256 << 10;
  options.segment_bytes = 128 << 10;
  open();
  auto session = writer();
  session->grow(8);
  session->write(0, filled(2 * page_size, 1));
  const auto flushing = start_flush(*session);
  while (sync_lane.run_one()) {
  }
  REQUIRE(flushing->calls == 1);
  REQUIRE_FALSE(flushing->error);
  files.fail(Call::write, ENOSPC);  // from now on only the checkpoint writes: into the image
  run_lanes();
  check_error(thrown_by([&] { session->write(0, filled(1, 2)); }), Errc::no_space,
              {"can't be copied into the image", "ENOSPC"});
  CHECK(read_from(*reader(), 0, 2 * page_size) == filled(2 * page_size, 1));
  CHECK(std::filesystem::exists(log()));
  session.reset();
  check_error(thrown_by([&] { store().close(); }), Errc::no_space, {log()});
  CHECK(std::filesystem::exists(log()));
  kill();
  files.heal(Call::write);
  open();
  CHECK(read_from(*reader(), 0, 2 * page_size) == filled(2 * page_size, 1));
  CHECK(reader()->pages() == 8);
  close();
  CHECK(names() == std::vector<std::string>{"db.img"});
}

}  // namespace pageserver::test
