// Nobody waits for another's disk: a call is held at the seam, and everybody else goes on meanwhile.
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/thread_background.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {
namespace {

constexpr std::chrono::seconds patience{30};
constexpr int many = 10'000;

/// Holds whoever passes while it is closed. Someone who is held longer than any test takes is let go, so that a store
/// that breaks its promise fails the test instead of hanging it.
class Gate {
public:
  /// Closes it for `thread`, or for everyone but the tests' own threads that never pass.
  void close(std::thread::id thread) {
    const std::lock_guard lock{mutex_};
    closed_for_ = thread;
  }
  void open() {
    {
      const std::lock_guard lock{mutex_};
      closed_for_ = {};
    }
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock{mutex_};
    if (closed_for_ != std::this_thread::get_id()) return;
    held_ = true;
    changed_.notify_all();
    if (!changed_.wait_for(lock, 3 * patience, [&] { return closed_for_ == std::thread::id{}; })) overdue_ = true;
    held_ = false;
  }
  bool wait_until_held() {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience, [&] { return held_; });
  }
  /// Held all the time since wait_until_held().
  bool still_held() const {
    const std::lock_guard lock{mutex_};
    return held_ && !overdue_;
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::thread::id closed_for_;
  bool held_ = false;
  bool overdue_ = false;
};

std::thread::id thread_of(storage::Background& lane) {
  std::promise<std::thread::id> id;
  lane.submit([&] { id.set_value(std::this_thread::get_id()); });
  return id.get_future().get();
}

/// A store whose lanes are threads, with a gate before the calls that `holdable` names.
class Threaded {
public:
  ~Threaded() {
    gate.open();
    store_.reset();
  }
  storage::Store& open(std::initializer_list<Call> holdable) {
    for (const Call call : holdable) files_.before(call, [this] { gate.pass(); });
    store_ = storage::open_engine(files_, folder_.file("db.img"), sync_lane, checkpoint_lane, options);
    return *store_;
  }
  std::unique_ptr<storage::StoreSession> session(Access access, View view = View::live) {
    auto request = session_request(access);
    request.view = view;
    return open_now(*store_, request);
  }
  std::unique_ptr<storage::StoreSession> prepared_writer(std::uint64_t pages) {
    auto writer = session(Access::write);
    writer->grow(pages);
    writer->write(0, filled(pages * page_size, 1));
    return writer;
  }

  Gate gate;
  storage::EngineOptions options;

private:
  TempDir folder_;
  FaultyFileSystem files_;  // before the lanes: the last task may be what closes the log's file

public:
  storage::ThreadBackground sync_lane, checkpoint_lane;

private:
  std::unique_ptr<storage::Store> store_;
};

std::future<void> started_flush(storage::StoreSession& session) {
  auto done = std::make_shared<std::promise<void>>();
  session.flush(
      [done](std::exception_ptr error, const Version&) { error ? done->set_exception(error) : done->set_value(); });
  return done->get_future();
}

bool is_done(std::future<void>& future, std::chrono::seconds limit = patience) {
  return future.wait_for(limit) == std::future_status::ready;
}

/// As a caller that may wait does it: asks for room and waits until there is.
void write_with_room(storage::StoreSession& session, std::uint64_t offset, std::span<const std::byte> data) {
  for (;;) {
    auto room = std::make_shared<std::promise<void>>();
    if (session.may_write([room] { room->set_value(); })) return session.write(offset, data);
    REQUIRE(room->get_future().wait_for(patience) == std::future_status::ready);
  }
}

/// Reads all over `pages` pages; how many answers were not one of the two values.
int wrong_reads(storage::StoreSession& session, std::uint64_t pages, int reads, int value, int or_value) {
  int wrong = 0;
  for (int i = 0; i < reads; ++i) {
    const std::uint64_t offset = static_cast<std::uint64_t>(i) * 7'919 % (pages * page_size - 600);
    const auto bytes = read_from(session, offset, 600);
    for (const std::byte byte : bytes) wrong += byte != std::byte(value) && byte != std::byte(or_value) ? 1 : 0;
  }
  return wrong;
}

}  // namespace

TEST_CASE_METHOD(Threaded, "promise: while a sync is held, ten thousand reads of other sessions are answered") {
  open({Call::sync_data});
  const auto writer = prepared_writer(8);
  const auto pin = session(Access::read, View::pinned);
  const auto live = session(Access::read);
  writer->write(0, filled(8 * page_size, 2));
  gate.close(thread_of(sync_lane));
  auto flushing = started_flush(*writer);
  REQUIRE(gate.wait_until_held());
  auto pinned = std::async(std::launch::async, [&] { return wrong_reads(*pin, 8, many, 1, 1); });
  CHECK(wrong_reads(*live, 8, many, 2, 2) == 0);
  CHECK(pinned.get() == 0);
  const auto later = session(Access::read, View::pinned);  // nor does opening wait
  CHECK(wrong_reads(*later, 8, 10, 2, 2) == 0);
  const auto fork = session(Access::fork);
  fork->write(0, filled(10, 9));
  CHECK(read_from(*fork, 0, 10) == filled(10, 9));
  CHECK(gate.still_held());
  CHECK_FALSE(is_done(flushing, std::chrono::seconds{0}));
  gate.open();
  REQUIRE(is_done(flushing));
  CHECK_NOTHROW(flushing.get());
}

TEST_CASE_METHOD(Threaded,
                 "promise: while a writer's sync is held, the next writer's ten thousand writes are answered") {
  auto& store = open({Call::sync_data});
  const auto first = prepared_writer(4);
  gate.close(thread_of(sync_lane));
  auto flushing = started_flush(*first);
  REQUIRE(gate.wait_until_held());
  store.break_lease(0, "the next writer's turn");
  const auto next = session(Access::write);
  for (int i = 0; i < many; ++i) next->write(static_cast<std::uint64_t>(i), filled(20, 3));
  CHECK(gate.still_held());
  CHECK(read_from(*session(Access::read), 0, many) == filled(many, 3));
}

TEST_CASE_METHOD(Threaded, "promise: ten thousand writes are answered while a pinned reader stands still") {
  options.log_bytes = 1 << 20;
  options.segment_bytes = 1 << 20;
  options.held_bytes = GENERATE(std::uint64_t{1} << 20, std::uint64_t{1} << 30);
  auto& store = open({});
  const auto writer = prepared_writer(8);
  const auto pin = session(Access::read, View::pinned);
  const auto branch = session(Access::fork);
  for (int i = 0; i < many; ++i)
    write_with_room(*writer, static_cast<std::uint64_t>(i) * 50 % (7 * page_size), filled(1'000, 2));
  CHECK(store.stat(0).held_bytes <= options.held_bytes);
  if (options.held_bytes > (1 << 20)) {
    CHECK(wrong_reads(*pin, 8, 100, 1, 1) == 0);
    CHECK(wrong_reads(*branch, 8, 100, 1, 1) == 0);
  } else {
    for (auto* holder : {pin.get(), branch.get()})
      check_error(thrown_by([&] { read_from(*holder, 0, 1); }), Errc::snapshot_too_old, {"held_bytes=1048576"});
  }
}

TEST_CASE_METHOD(Threaded, "promise: ten thousand writes are answered while a read waits for the disk") {
  open({Call::read});
  const auto writer = prepared_writer(4);  // more than what is kept in memory: reads go to the log's file
  const auto pin = session(Access::read, View::pinned);
  auto reading = std::async(std::launch::async, [&] {
    gate.close(std::this_thread::get_id());
    return read_from(*pin, 0, page_size);
  });
  REQUIRE(gate.wait_until_held());
  for (int i = 0; i < many; ++i) write_with_room(*writer, static_cast<std::uint64_t>(i), filled(1'000, 2));
  auto flushing = started_flush(*writer);
  CHECK(is_done(flushing));
  CHECK(gate.still_held());
  gate.open();
  CHECK(reading.get() == filled(page_size, 1));
}

TEST_CASE_METHOD(Threaded, "promise: a checkpoint that is held delays neither reads nor writes nor flushes") {
  const Call held = GENERATE(Call::write, Call::sync_data);  // into the image, and of the image
  options.log_bytes = 9 << 20;
  options.segment_bytes = 4 << 20;
  open({held});
  gate.close(thread_of(checkpoint_lane));
  const auto writer = prepared_writer(16);
  const auto live = session(Access::read);
  for (int i = 0; i < 4; ++i) writer->write(0, filled(16 * page_size, 1));  // 5 MiB: the checkpoint begins
  auto first = started_flush(*writer);
  REQUIRE(is_done(first));
  REQUIRE(gate.wait_until_held());
  const auto pin = session(Access::read, View::pinned);
  auto reads = std::async(std::launch::async, [&] { return wrong_reads(*live, 16, many, 1, 2); });
  for (int i = 0; i < many; ++i) {
    const std::uint64_t offset = static_cast<std::uint64_t>(i) * 101 % (16 * page_size - 100);
    REQUIRE(writer->may_write([] {}));
    writer->write(offset, filled(100, 2));
  }
  CHECK(wrong_reads(*pin, 16, many, 1, 1) == 0);
  CHECK(reads.get() == 0);
  auto flushing = started_flush(*writer);
  CHECK(is_done(flushing));
  CHECK(gate.still_held());
  gate.open();
  CHECK(wrong_reads(*pin, 16, 1'000, 1, 1) == 0);
  CHECK(wrong_reads(*live, 16, 1'000, 1, 2) == 0);
}

}  // namespace pageserver::test
