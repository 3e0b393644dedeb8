// The writer lease of the engine: one holder, a fair line, epochs that end with the lease.
#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {

TEST_CASE_METHOD(EngineHarness, "engine: a second writer is busy and told by whom and how many wait") {
  open();
  const auto first = writer();
  const auto waiting = start_opening(store(), session_request(Access::write, "later", true));
  CHECK(waiting->calls == 0);
  check_error(thrown_by([&] { writer(); }), Errc::busy, {"\"writer\"", "127.0.0.1:4000", "2026-11-23T03:49:25Z", "1"});
  CHECK(store().stat(0).writers_waiting == 1);
}

TEST_CASE_METHOD(EngineHarness, "engine: the line of writers is served first come, first served") {
  open();
  auto current = writer();
  std::vector<std::shared_ptr<Opening>> line;
  for (int i = 0; i < 50; ++i) line.push_back(start_opening(store(), session_request(Access::write, "w", true)));
  store().cancel_wait(line[7]->place);
  CHECK(line[7]->calls == 1);
  CHECK(line[7]->error);
  store().cancel_wait(line[7]->place);
  CHECK(line[7]->calls == 1);
  std::uint64_t epoch = current->epoch();
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (i == 7) continue;
    REQUIRE(line[i]->calls == 0);
    current.reset();
    REQUIRE(line[i]->calls == 1);
    current = std::move(line[i]->session);
    REQUIRE(current);
    CHECK(current->epoch() > epoch);
    epoch = current->epoch();
  }
}

TEST_CASE_METHOD(EngineHarness, "engine: after its lease is broken every request of the old writer is lease_lost") {
  open();
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  auto old = writer(publish);
  old->grow(1);
  flush(*old);
  if (publish == Publish::on_flush) old->write(0, filled(1, 1));
  int notices = 0;
  old->on_notice([&](const MemoryError& error) {
    ++notices;
    check_error(error, Errc::lease_lost, {"because of the test"});
  });
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  CHECK_FALSE(store().break_lease(old->epoch() + 1, "wrong epoch"));
  const auto lost = store().break_lease(old->epoch(), "because of the test");
  REQUIRE(lost);
  CHECK(lost->name == "writer");
  CHECK(notices == 1);
  REQUIRE(next->session);
  std::vector<std::byte> one(1);
  const auto refused = [&](auto call) { check_error(thrown_by(call), Errc::lease_lost, {"because of the test"}); };
  refused([&] { old->write(0, one); });
  refused([&] { old->zero(0, 1); });
  refused([&] { old->grow(1); });
  refused([&] { old->read(0, one); });
  refused([&] { old->pages(); });
  refused([&] { old->version(); });
  refused([&] { old->discard(); });
  const auto flushing = start_flush(*old);
  CHECK(flushing->calls == 1);
  refused([&] { std::rethrow_exception(flushing->error); });
  CHECK(read_from(*next->session, 0, 1) == filled(1, 0));
  next->session->write(0, filled(1, 7));
  old.reset();
  CHECK(read_from(*next->session, 0, 1) == filled(1, 7));
  CHECK(store().break_lease(0, "again")->name == "next");
  CHECK_FALSE(store().break_lease(0, "nobody"));
}

TEST_CASE_METHOD(EngineHarness, "engine: an idle lease is broken by how idle it is at the break") {
  open();
  const auto session = writer();
  session->grow(1);
  const auto broken = [&](std::int64_t now_ms) { return store().break_idle_lease(now_ms, 300, "idle"); };
  session->note_request(1000);
  CHECK_FALSE(broken(1299));
  // Whoever looked before this request came finds it when it comes to break.
  CHECK(store().stat(1300).writer->idle_ms == 300);
  session->note_request(1300);
  CHECK_FALSE(broken(1300));
  const auto flushing = start_flush(*session);
  CHECK_FALSE(broken(9000));  // it waits, which is not idle
  run_lanes();
  REQUIRE(flushing->calls == 1);
  session->note_request(9000);
  CHECK_FALSE(broken(9299));
  const auto lost = broken(9300);
  REQUIRE(lost);
  CHECK(lost->idle_ms == 300);
  check_error(thrown_by([&] { session->pages(); }), Errc::lease_lost, {"idle"});
  CHECK_FALSE(broken(99'000));
}

TEST_CASE_METHOD(EngineHarness, "engine: a commit under way is applied before the next lease is granted") {
  open();
  auto old = writer(Publish::on_flush);
  old->grow(1);
  const auto flushing = start_flush(*old);
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  SECTION("its lease is broken") { store().break_lease(0, "test"); }
  SECTION("its session ends") { old.reset(); }
  CHECK(next->calls == 0);
  CHECK(reader()->pages() == 0);
  run_lanes();
  REQUIRE(next->session);
  CHECK(next->session->pages() == 1);
  CHECK(flushing->calls == (old ? 1 : 0));
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a flush whose lease goes meanwhile is answered with the version it made durable") {
  open();
  const Publish publish = GENERATE(Publish::on_write, Publish::on_flush);
  auto old = writer(publish);
  old->grow(1);
  const auto flushing = start_flush(*old);
  REQUIRE(flushing->calls == 0);
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  store().break_lease(0, "test");
  if (next->session) next->session->grow(1);  // published before the sync, and not what this flush is about
  run_lanes();
  REQUIRE(flushing->calls == 1);
  CHECK_FALSE(flushing->error);
  CHECK(flushing->version.number == 2);
  CHECK(flushing->version.incarnation == reader()->version().incarnation);
}

TEST_CASE_METHOD(EngineHarness, "engine: what a session was opened with is known although its lease went at once") {
  open();
  auto first = writer();
  first->grow(3);
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  first.reset();
  REQUIRE(next->session);
  store().break_lease(0, "before it was looked at");
  const auto last = writer();
  last->grow(1);
  CHECK(next->session->opened().pages == 3);
  CHECK(next->session->opened().version.number == 2);
  check_error(thrown_by([&] { next->session->view(); }), Errc::lease_lost, {"before it was looked at"});
}

TEST_CASE_METHOD(EngineHarness, "engine: a session that lost its lease neither reports nor breaks the next lease") {
  open();
  auto old = writer();
  const auto next = start_opening(store(), session_request(Access::write, "next", true));
  const auto broken = old->break_lease(0, "by itself", 4'000);
  REQUIRE(broken);
  CHECK(broken->idle_ms == 3'000);
  REQUIRE(next->session);
  check_error(thrown_by([&] { old->break_lease(0, "again", 5'000); }), Errc::lease_lost, {"by itself"});
  check_error(thrown_by([&] { old->stat(5'000); }), Errc::lease_lost, {"by itself"});
  CHECK(next->session->stat(5'000).writer->name == "next");
}

TEST_CASE_METHOD(EngineHarness, "engine: who asks for a lease that was lost during a flush is told whose flush it is") {
  open();
  auto old = writer(Publish::on_flush);
  old->grow(1);
  const auto flushing = start_flush(*old);
  SECTION("its lease is broken") { store().break_lease(0, "test"); }
  SECTION("its session ends") { old.reset(); }
  check_error(thrown_by([&] { writer(); }), Errc::busy,
              {"was held by \"writer\" at 127.0.0.1:4000", "still under way", "wait_ms"});
  run_lanes();
  CHECK(writer()->pages() == 1);
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: closing with sessions open is refused, and a store that ends tells who waits") {
  open();
  auto write = writer();
  const auto waiting = start_opening(store(), session_request(Access::write, "w", true));
  check_error(thrown_by([&] { store().close(); }), Errc::invalid_argument, {"1 sessions"});
  kill();
  CHECK(waiting->calls == 1);
  CHECK(waiting->error);
  std::vector<std::byte> none;
  check_error(thrown_by([&] { write->read(0, none); }), Errc::provider_error, {"closed"});
}

TEST_CASE_METHOD(EngineHarness, "engine: a writer is idle only while no request of it is under way") {
  options.log_bytes = 64 << 10;
  options.segment_bytes = 64 << 10;
  open();
  const auto idle_ms = [&](std::int64_t now_ms) { return store().stat(now_ms).writer->idle_ms; };
  auto write = writer();
  CHECK(idle_ms(1'250) == 250);  // since it was opened
  write->grow(2);
  write->note_request(2'000);
  CHECK(idle_ms(2'100) == 100);
  CHECK(idle_ms(1'900) == 0);
  SECTION("it waits for a flush") {
    const auto flushing = start_flush(*write);
    CHECK(idle_ms(1'000'000) == 0);
    run_lanes();
    REQUIRE(flushing->calls == 1);
    write->note_request(1'000'000);
    CHECK(idle_ms(1'000'001) == 1);
  }
  SECTION("it waits for room") {
    while (write->may_write([] {})) write->write(0, filled(40'000, 1));
    CHECK(idle_ms(1'000'000) == 0);
    run_lanes();
    write->note_request(1'000'000);
    CHECK(idle_ms(1'000'001) == 1);
  }
  SECTION("it waited in line") {
    const auto next = start_opening(store(), session_request(Access::write, "next", true));
    write.reset();
    REQUIRE(next->session);
    CHECK(idle_ms(1'000'000) == 0);
    next->session->note_request(1'000'000);
    CHECK(idle_ms(1'000'001) == 1);
  }
}

}  // namespace pageserver::test
