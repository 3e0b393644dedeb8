// One writer at a time: the lease, the line for it, its breaking.
#include <atomic>
#include <thread>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/thread_background.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/manual_background.hpp"
#include "tests/unit/storage/storage_test.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {
namespace {

struct Fixture {
  TempDir folder;
  ManualBackground lane;
  ManualBackground checkpoint_lane;
  std::unique_ptr<storage::Store> store =
      storage::open_engine(storage::posix_file_system(), folder.file("db.img"), lane, checkpoint_lane, {});

  std::unique_ptr<storage::StoreSession> open(Access access, std::string name = "") {
    return open_now(*store, session_request(access, std::move(name)));
  }
  std::shared_ptr<Opening> wait_for_lease(std::string name) {
    auto opening = start_opening(*store, session_request(Access::write, std::move(name), true));
    CHECK(opening->calls == 0);
    CHECK(opening->place != 0);
    return opening;
  }
};

}  // namespace

TEST_CASE("a second writer is told who holds the lease, since when, and what to do") {
  Fixture fixture;
  const auto writer = fixture.open(Access::write, "importer");
  check_error(thrown_by([&] { fixture.open(Access::write); }), Errc::busy,
              {"db.img", "\"importer\" at 127.0.0.1:4000 since 2026-11-23T03:49:25Z", "wait_ms", "access=read",
               "pagectl lease URI --break"});
  const auto waiter = fixture.wait_for_lease("second");
  check_error(thrown_by([&] { fixture.open(Access::write); }), Errc::busy, {"1 wait in line"});
}

TEST_CASE("the lease is free when its session ends, and its epoch rises") {
  Fixture fixture;
  auto writer = fixture.open(Access::write);
  CHECK(writer->epoch() == 1);
  writer.reset();
  CHECK(fixture.open(Access::write)->epoch() == 2);
  CHECK(fixture.open(Access::write)->epoch() == 3);
  CHECK_FALSE(fixture.store->stat(0).writer);
}

TEST_CASE("the line is served first come first served") {
  Fixture fixture;
  auto writer = fixture.open(Access::write, "first");
  std::vector<std::shared_ptr<Opening>> line;
  for (int i = 0; i < 50; ++i) line.push_back(fixture.wait_for_lease("waiter " + std::to_string(i)));
  CHECK(fixture.store->stat(0).writers_waiting == 50);
  for (std::size_t i = 0; i < line.size(); ++i) {
    writer.reset();
    REQUIRE(line[i]->calls == 1);
    if (i + 1 < line.size()) CHECK(line[i + 1]->calls == 0);
    writer = std::move(line[i]->session);
    REQUIRE(writer);
    CHECK(fixture.store->stat(0).writer->name == "waiter " + std::to_string(i));
    CHECK(writer->epoch() == i + 2);
  }
}

TEST_CASE("a place in the line can be given up, once") {
  Fixture fixture;
  auto writer = fixture.open(Access::write, "first");
  const auto second = fixture.wait_for_lease("second");
  const auto third = fixture.wait_for_lease("third");
  fixture.store->cancel_wait(second->place);
  CHECK(second->calls == 1);
  check_error(thrown_by([&] { std::rethrow_exception(second->error); }), Errc::busy, {"\"first\""});
  fixture.store->cancel_wait(second->place);
  fixture.store->cancel_wait(999);
  CHECK(second->calls == 1);
  writer.reset();
  fixture.store->cancel_wait(third->place);  // too late: it was its turn
  CHECK(third->calls == 1);
  CHECK(third->session);
}

TEST_CASE("a granted session that nobody took is passed on") {
  Fixture fixture;
  auto writer = fixture.open(Access::write);
  const auto second = fixture.wait_for_lease("second");
  const auto third = fixture.wait_for_lease("third");
  writer.reset();
  fixture.lane.run_one();
  second->session.reset();
  CHECK(third->session);
}

TEST_CASE("every request of a session whose lease was broken answers lease_lost") {
  Fixture fixture;
  const auto writer = fixture.open(Access::write, "old");
  writer->grow(1);
  writer->write(0, bytes_of("kept"));
  const auto before = fixture.store->stat(0).version.number;
  int notices = 0;
  writer->on_notice([&](const MemoryError& reason) {
    ++notices;
    check_error(reason, Errc::lease_lost, {"epoch 1", "an administrator broke it"});
  });
  const auto loser = fixture.store->break_lease(0, "an administrator broke it");
  REQUIRE(loser);
  CHECK(loser->name == "old");
  CHECK(loser->epoch == 1);
  CHECK(notices == 1);

  std::uint64_t until = 0;
  const std::vector<std::function<void()>> requests{[&] { writer->write(0, bytes_of("lost")); },
                                                    [&] { writer->grow(1); },
                                                    [&] { writer->grow(0); },
                                                    [&] { writer->write(0, {}); },
                                                    [&] { writer->zero(0, 10); },
                                                    [&] { read_from(*writer, 0, 1); },
                                                    [&] { writer->pages(); },
                                                    [&] { writer->version(); },
                                                    [&] { flush_now(*writer); },
                                                    [&] { writer->discard(); },
                                                    [&] { writer->data_ranges(0, 1, 1, until); }};
  for (const auto& request : requests) {
    check_error(thrown_by(request), Errc::lease_lost, {"an administrator broke it", "open a new session"});
  }
  const auto reader = fixture.open(Access::read);
  CHECK(read_from(*reader, 0, 4) == bytes_of("kept"));
  CHECK(fixture.store->stat(0).version.number == before);
  const auto next = fixture.open(Access::write);
  CHECK(next->epoch() == 2);
}

TEST_CASE("breaking a lease grants it to the next in line, and its old session's end takes nothing away") {
  Fixture fixture;
  auto old = fixture.open(Access::write, "old");
  const auto next = fixture.wait_for_lease("next");
  REQUIRE(fixture.store->break_lease(1, "idle"));
  REQUIRE(next->session);
  old.reset();
  CHECK(fixture.store->stat(0).writer->name == "next");
  check_error(thrown_by([&] { fixture.open(Access::write); }), Errc::busy, {"\"next\""});
}

TEST_CASE("a break that names another epoch, or finds no writer, does nothing") {
  Fixture fixture;
  CHECK_FALSE(fixture.store->break_lease(0, "x"));
  const auto writer = fixture.open(Access::write);
  CHECK_FALSE(fixture.store->break_lease(7, "x"));
  CHECK(writer->pages() == 0);
}

TEST_CASE("a notice asked for after the loss comes all the same") {
  Fixture fixture;
  auto writer = fixture.open(Access::write);
  fixture.store->break_lease(0, "x");
  int notices = 0;
  writer->on_notice([&](const MemoryError&) { ++notices; });
  fixture.lane.run_all();
  CHECK(notices == 1);
}

TEST_CASE("no notice comes after the session's end") {
  Fixture fixture;
  auto writer = fixture.open(Access::write);
  int notices = 0;
  writer->on_notice([&](const MemoryError&) { ++notices; });
  writer.reset();
  const auto next = fixture.open(Access::write);
  CHECK(fixture.store->break_lease(0, "x"));
  CHECK(notices == 0);
}

TEST_CASE("the report counts sessions and says how long the writer is idle") {
  Fixture fixture;
  const auto writer = fixture.open(Access::write, "w");
  auto reader = fixture.open(Access::read);
  const auto other = fixture.open(Access::read);
  writer->grow(4);
  writer->note_request(5000);
  const auto stat = fixture.store->stat(7500);
  REQUIRE(stat.writer);
  CHECK(stat.writer->idle_ms == 2500);
  CHECK(stat.writer->address == "127.0.0.1:4000");
  CHECK(stat.writer->since_unix_ms == 1'795'405'765'000);
  CHECK(stat.writer->access == Access::write);
  CHECK(stat.sessions_write == 1);
  CHECK(stat.sessions_live == 2);
  CHECK(stat.pages == 4);
  CHECK(fixture.store->stat(0).writer->idle_ms == 0);  // a clock that went back
  reader.reset();
  CHECK(fixture.store->stat(0).sessions_live == 1);
}

TEST_CASE("leases race over threads: never two writers, never a lost place") {
  const TempDir folder;
  std::atomic<int> writers{0}, most{0}, granted{0};
  {
    storage::ThreadBackground lane;
    storage::ThreadBackground checkpoint_lane;
    const auto store =
        storage::open_engine(storage::posix_file_system(), folder.file("db.img"), lane, checkpoint_lane, {});
    std::atomic<int> answered{0};
    const auto take_turn = [&](std::unique_ptr<storage::StoreSession> session, std::exception_ptr) {
      if (session) {
        most = std::max(most.load(), ++writers);
        session->grow(1);
        --writers;
        ++granted;
        session.reset();
      }
      ++answered;
      answered.notify_all();
    };
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) {
          const auto place = store->open_session(session_request(Access::write, "", true), take_turn);
          if (i % 7 == 3) store->cancel_wait(place);
        }
      });
    }
    for (auto& thread : threads) thread.join();
    for (int seen = answered; seen < 200; seen = answered) answered.wait(seen);
    CHECK(answered == 200);
    CHECK(store->stat(0).pages == static_cast<std::uint64_t>(granted.load()));
    CHECK(store->stat(0).writers_waiting == 0);
    store->close();
  }
  CHECK(most == 1);
}

TEST_CASE("sessions, breaks and ends from many threads at once are safe") {
  const TempDir folder;
  storage::ThreadBackground lane;
  storage::ThreadBackground checkpoint_lane;
  const auto store =
      storage::open_engine(storage::posix_file_system(), folder.file("db.img"), lane, checkpoint_lane, {});
  std::atomic<bool> stop{false};
  std::thread breaker{[&] {
    while (!stop) store->break_lease(0, "chaos");
  }};
  std::thread watcher{[&] {
    while (!stop) static_cast<void>(store->stat(1));
  }};
  int lost = 0;
  for (int round = 0; round < 300; ++round) {
    const auto opening = start_opening(*store, session_request(Access::write));
    REQUIRE(opening->session);
    opening->session->on_notice([](const MemoryError&) {});
    try {
      opening->session->grow(1);
      opening->session->flush([](std::exception_ptr, const Version&) {});
    } catch (const MemoryError& error) {
      CHECK(error.code() == Errc::lease_lost);
      ++lost;
    }
  }
  stop = true;
  breaker.join();
  watcher.join();
  CHECK(store->stat(0).pages + static_cast<std::uint64_t>(lost) >= 300);
}

}  // namespace pageserver::test
