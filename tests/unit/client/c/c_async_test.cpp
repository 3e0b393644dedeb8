// The C interface for event loops: many operations in flight, each ending in a callback with the user's data.
#include "tests/support/catch.hpp"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>

#include "tests/support/c_handles.hpp"
#include "tests/support/daemon.hpp"

using namespace pageserver::test;

namespace {

constexpr std::uint64_t page = PS_PAGE_BYTES;

struct Outcome {
  int runs = 0;
  int code = PS_OK;
  std::string text;
  std::uint64_t number = 0;

  void take(const ps_error* error) {
    ++runs;
    if (error != nullptr) {
      code = error->code;
      text = error->text;
    }
  }
};

void done(void* user_data, const ps_error* error) { static_cast<Outcome*>(user_data)->take(error); }
void done_pages(void* user_data, const ps_error* error, std::uint64_t pages) {
  auto& outcome = *static_cast<Outcome*>(user_data);
  outcome.take(error);
  outcome.number = pages;
}

ps_interest interest_of(ps_async* async) {
  ps_interest interest{};
  interest.size = sizeof interest;
  CHECK(ps_async_interest(async, &interest, nullptr) == PS_OK);
  return interest;
}

void run(ps_async* async) {
  ps_error error = no_error();
  const int code = ps_async_run(async, 30'000, &error);
  INFO(error.text);
  CHECK(code == PS_OK);
}

struct Served {
  Daemon daemon{{"--store", "demo={dir}/demo.img"}};
  CAsync open(const std::string& query = {}) { return c_async(daemon.unix_uri("demo", query)); }
};

}  // namespace

TEST_CASE("C, async: a batch of a hundred operations is in flight at once, each answered with its own data") {
  Served served;
  const auto session = served.open();
  Outcome grown;
  REQUIRE(ps_async_grow(session.get(), 8, done_pages, &grown, nullptr) == PS_OK);
  std::vector<Outcome> outcomes(100);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < outcomes.size(); ++i) texts.push_back("block " + std::to_string(1000 + i));
  for (std::size_t i = 0; i < outcomes.size(); ++i)
    REQUIRE(ps_async_write(session.get(), i * 5000, texts[i].data(), texts[i].size(), done, &outcomes[i], nullptr) ==
            PS_OK);
  CHECK(interest_of(session.get()).outstanding == 101);
  CHECK(grown.runs == 0);  // nothing is called back by starting
  run(session.get());
  CHECK(grown.runs == 1);
  CHECK(grown.number == 0);
  std::vector<std::string> seen(texts.size(), std::string(10, '?'));
  for (std::size_t i = 0; i < outcomes.size(); ++i)
    REQUIRE(ps_async_read(session.get(), i * 5000, seen[i].data(), 10, done, &outcomes[i], nullptr) == PS_OK);
  std::size_t completed = 0;
  while (interest_of(session.get()).outstanding > 0) {
    std::size_t some = 0;
    REQUIRE(ps_async_wait(session.get(), 30'000, &some, nullptr) == PS_OK);
    CHECK(some > 0);
    completed += some;
  }
  CHECK(completed == outcomes.size());
  CHECK(seen == texts);
  for (const auto& outcome : outcomes) CHECK((outcome.runs == 2 && outcome.code == PS_OK));
}

TEST_CASE("C, async: an operation that is refused is the only one to fail") {
  Served served;
  const auto session = served.open();
  Outcome grow, away, fine;
  char byte = 0;
  REQUIRE(ps_async_grow(session.get(), 1, done_pages, &grow, nullptr) == PS_OK);
  REQUIRE(ps_async_read(session.get(), 70'000, &byte, 1, done, &away, nullptr) == PS_OK);
  REQUIRE(ps_async_read(session.get(), 0, &byte, 1, done, &fine, nullptr) == PS_OK);
  // Nobody wants to know of these.
  REQUIRE(ps_async_read(session.get(), 70'000, &byte, 1, nullptr, nullptr, nullptr) == PS_OK);
  REQUIRE(ps_async_grow(session.get(), 0, nullptr, nullptr, nullptr) == PS_OK);
  REQUIRE(ps_async_stat(session.get(), nullptr, nullptr, nullptr) == PS_OK);
  run(session.get());
  CHECK(away.code == PS_OUT_OF_BOUNDS);
  CHECK(away.text.find("read offset=70000 length=1 exceeds size=65536") != std::string::npos);
  CHECK(fine.code == PS_OK);
  CHECK(fine.runs == 1);

  ps_opened opened{};
  opened.size = sizeof opened;
  REQUIRE(ps_async_opened(session.get(), &opened, nullptr) == PS_OK);
  CHECK(opened.pages == 0);
  CHECK((opened.can_commit != 0 && opened.can_zero != 0 && opened.can_find_data != 0));
  ps_error error = no_error();
  std::vector<char> large(opened.request_bytes_max + 1u);
  CHECK(ps_async_read(session.get(), 0, large.data(), large.size(), done, &fine, &error) == PS_LIMIT_EXCEEDED);
  CHECK(std::string{error.text}.find("split it") != std::string::npos);
  CHECK(ps_async_read(session.get(), 0, nullptr, 1, done, &fine, &error) == PS_INVALID_ARGUMENT);
  CHECK(fine.runs == 1);
}

TEST_CASE("C, async: a transaction and its commit take one round trip, and a refused change keeps it back") {
  Served served;
  {
    const auto session = served.open("publish=on_flush");
    Outcome commit;
    REQUIRE(ps_async_grow(session.get(), 2, nullptr, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_async_write(session.get(), 10, "paid", 4, nullptr, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_async_zero(session.get(), page, 100, nullptr, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_async_commit(session.get(), 0, done, &commit, nullptr) == PS_OK);
    run(session.get());
    CHECK(commit.code == PS_OK);

    Outcome refused;
    REQUIRE(ps_async_write(session.get(), 10, "half", 4, nullptr, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_async_write(session.get(), 1u << 30, "x", 1, nullptr, nullptr, nullptr) == PS_OK);
    REQUIRE(ps_async_flush(session.get(), 5'000, done, &refused, nullptr) == PS_OK);
    run(session.get());
    CHECK(refused.code == PS_INVALID_ARGUMENT);
    Outcome discarded;
    REQUIRE(ps_async_discard(session.get(), done, &discarded, nullptr) == PS_OK);
    run(session.get());
    CHECK(discarded.runs == 1);
  }
  const auto reader = c_session(served.daemon.unix_uri("demo", "access=read"));
  char seen[4];
  REQUIRE(ps_session_read(reader.get(), 10, seen, 4, nullptr) == PS_OK);
  CHECK(std::string(seen, 4) == "paid");
}

TEST_CASE("C, async: values come with the completions") {
  Served served;
  const auto writer = c_session(served.daemon.unix_uri("demo", "name=holder"));
  REQUIRE(ps_session_grow(writer.get(), 4, nullptr, nullptr) == PS_OK);
  const auto session = served.open("access=read&view=pinned");
  REQUIRE(ps_session_write(writer.get(), page, "x", 1, nullptr) == PS_OK);
  struct Seen {
    std::uint64_t pages = 0, number = 0, later = 0, until = 0, changed = 0, data = 0;
    std::string store, broken;
    int runs = 0;
  } seen;
  const auto of = [](void* user_data) -> Seen& {
    auto& all = *static_cast<Seen*>(user_data);
    ++all.runs;
    return all;
  };
  static const auto find = of;
  REQUIRE(ps_async_size(
              session.get(),
              [](void* user_data, const ps_error* error, const ps_view* view) {
                auto& all = find(user_data);
                if (error != nullptr) return;
                all.pages = view->pages;
                all.number = view->version.number;
              },
              &seen, nullptr) == PS_OK);
  REQUIRE(ps_async_refresh(
              session.get(),
              [](void* user_data, const ps_error* error, const ps_refreshed* refreshed) {
                auto& all = find(user_data);
                if (error != nullptr) return;
                all.later = refreshed->version.number;
                if (refreshed->count > 0) all.changed = refreshed->changed[0].offset;
              },
              &seen, nullptr) == PS_OK);
  REQUIRE(ps_async_data_ranges(
              session.get(), 0, 4 * page,
              [](void* user_data, const ps_error* error, const ps_ranges* ranges) {
                auto& all = find(user_data);
                if (error != nullptr) return;
                all.until = ranges->described_until;
                all.data = ranges->count;
              },
              &seen, nullptr) == PS_OK);
  REQUIRE(ps_async_stat(
              session.get(),
              [](void* user_data, const ps_error* error, const ps_stat* stat) {
                auto& all = find(user_data);
                if (error == nullptr) all.store = stat->store;
              },
              &seen, nullptr) == PS_OK);
  served.daemon.expect_complaint("lease");
  for (int times = 0; times < 2; ++times)
    REQUIRE(ps_async_break_lease(
                session.get(), 0,
                [](void* user_data, const ps_error* error, const ps_holder* holder) {
                  auto& all = find(user_data);
                  if (error == nullptr) all.broken += holder == nullptr ? "nobody" : holder->name;
                },
                &seen, nullptr) == PS_OK);
  run(session.get());
  CHECK(seen.runs == 6);
  CHECK(seen.pages == 4);
  CHECK(seen.later > seen.number);
  CHECK(seen.changed / page == 1);
  CHECK(seen.until == 4 * page);
  CHECK(seen.data == 1);
  CHECK(seen.store == "demo");
  CHECK(seen.broken == "holdernobody");
}

TEST_CASE("C, async: an event loop of the program's own waits for what the session wants") {
  Served served;
  const auto session = served.open();
  CHECK(interest_of(session.get()).timeout_ms == -1);
  Outcome grow, flush;
  REQUIRE(ps_async_grow(session.get(), 1, done_pages, &grow, nullptr) == PS_OK);
  REQUIRE(ps_async_flush(session.get(), 0, done, &flush, nullptr) == PS_OK);
  int turns = 0;
  while (flush.runs == 0) {
    REQUIRE(++turns < 1000);
    const auto interest = interest_of(session.get());
    CHECK(interest.timeout_ms > 0);
    pollfd descriptor{interest.descriptor, static_cast<short>(interest.events), 0};
    REQUIRE(::poll(&descriptor, 1, interest.timeout_ms) == 1);
    REQUIRE(ps_async_dispatch(session.get(), nullptr, nullptr) == PS_OK);
  }
  CHECK(grow.runs == 1);
  ps_interest shorter{};
  shorter.size = offsetof(ps_interest, timeout_ms);
  shorter.timeout_ms = 77;
  CHECK(ps_async_interest(session.get(), &shorter, nullptr) == PS_OK);
  CHECK(shorter.descriptor == interest_of(session.get()).descriptor);
  CHECK(shorter.timeout_ms == 77);
}

TEST_CASE("C, async: a completion may start operations, and may not dispatch or wait") {
  Served served;
  const auto session = served.open();
  struct Chain {
    ps_async* async;
    int left = 5;
    int dispatched = PS_OK, waited = PS_OK, ran = PS_OK;
    std::string text{};

    static void next(void* user_data, const ps_error*, std::uint64_t) {
      auto& chain = *static_cast<Chain*>(user_data);
      ps_error error = no_error();
      chain.dispatched = ps_async_dispatch(chain.async, nullptr, &error);
      chain.waited = ps_async_wait(chain.async, 1, nullptr, nullptr);
      chain.ran = ps_async_run(chain.async, 1, nullptr);
      chain.text = error.text;
      if (--chain.left > 0) ps_async_grow(chain.async, 1, next, user_data, nullptr);
    }
  } chain{session.get()};
  REQUIRE(ps_async_grow(session.get(), 1, Chain::next, &chain, nullptr) == PS_OK);
  run(session.get());
  CHECK(chain.left == 0);
  CHECK((chain.dispatched == PS_INVALID_ARGUMENT && chain.waited == chain.dispatched && chain.ran == chain.waited));
  CHECK(chain.text.find("called by a completion") != std::string::npos);
}

TEST_CASE("C, async: a completion may close the session, and none runs after it") {
  Served served;
  struct Closing {
    ps_async* async = nullptr;
    int runs = 0;
    int started = PS_OK;
    static void close(void* user_data, const ps_error*) {
      auto& closing = *static_cast<Closing*>(user_data);
      ++closing.runs;
      ps_async_close(closing.async);
      closing.started = ps_async_discard(closing.async, close, user_data, nullptr);
    }
  };
  for (const bool by_run : {true, false}) {
    Closing closing;
    closing.async = served.open("wait_ms=30000").release();
    for (int i = 0; i < 20; ++i) REQUIRE(ps_async_discard(closing.async, Closing::close, &closing, nullptr) == PS_OK);
    CHECK((by_run ? ps_async_run(closing.async, 30'000, nullptr)
                  : ps_async_wait(closing.async, 30'000, nullptr, nullptr)) == PS_OK);
    CHECK(closing.runs == 1);
    CHECK(closing.started == PS_INVALID_ARGUMENT);
  }
  // It is closed: the lease is free.
  CHECK(served.open("wait_ms=30000") != nullptr);
}

TEST_CASE("C, async: what is outstanding when the session is closed never runs") {
  Served served;
  Outcome outcome;
  auto session = served.open();
  REQUIRE(ps_async_grow(session.get(), 1, done_pages, &outcome, nullptr) == PS_OK);
  session.reset();
  CHECK(outcome.runs == 0);
}

TEST_CASE("C, async: an end says that the lease is free, and nothing is started behind it") {
  Served served;
  for (int round = 0; round < 10; ++round) {
    const auto session = served.open();
    Outcome grown, ended;
    REQUIRE(ps_async_grow(session.get(), 1, done_pages, &grown, nullptr) == PS_OK);
    REQUIRE(ps_async_end(session.get(), 0, done, &ended, nullptr) == PS_OK);
    ps_error error = no_error();
    CHECK(ps_async_grow(session.get(), 1, done_pages, &grown, &error) == PS_INVALID_ARGUMENT);
    run(session.get());
    CHECK(grown.runs == 1);
    CHECK(grown.number == static_cast<std::uint64_t>(round));
    CHECK(ended.runs == 1);
    CHECK(ended.code == PS_OK);
    // Also once the daemon has closed the connection.
    run(session.get());
    // The next writer comes while the handle is still there.
  }
}

TEST_CASE("C, async: a wait ends when its time is over, and the session goes on") {
  Served served;
  const auto session = served.open();
  std::size_t completed = 77;
  CHECK(ps_async_wait(session.get(), -1, &completed, nullptr) == PS_OK);  // nothing is outstanding
  CHECK(completed == 0);
  CHECK(ps_async_wait(session.get(), 1, &completed, nullptr) == PS_OK);
  CHECK(completed == 0);
  served.daemon.process().pause();
  Outcome outcome;
  REQUIRE(ps_async_discard(session.get(), done, &outcome, nullptr) == PS_OK);
  ps_error error = no_error();
  CHECK(ps_async_run(session.get(), 5, &error) == PS_TIMED_OUT);
  CHECK(std::string{error.text}.find("1 operations are outstanding after timeout_ms=5") != std::string::npos);
  served.daemon.process().signal(SIGCONT);
  run(session.get());
  CHECK(outcome.runs == 1);
}

TEST_CASE("C, async: the end of the connection is each operation's error, and every later call's") {
  Served served;
  const auto session = served.open("access=read");
  std::vector<Outcome> outcomes(10);
  served.daemon.kill_hard();
  for (auto& outcome : outcomes) REQUIRE(ps_async_discard(session.get(), done, &outcome, nullptr) == PS_OK);
  ps_error error = no_error();
  CHECK(ps_async_run(session.get(), 30'000, &error) == PS_CONNECTION_LOST);
  for (const auto& outcome : outcomes) {
    CHECK(outcome.runs == 1);
    CHECK(outcome.code == PS_CONNECTION_LOST);
    CHECK(outcome.text.find("closed the connection") != std::string::npos);
  }
  CHECK(ps_async_discard(session.get(), done, &outcomes[0], &error) == PS_CONNECTION_LOST);
  CHECK(outcomes[0].runs == 1);
}

TEST_CASE("C, async: only a daemon's stores can be opened so") {
  ps_error error = no_error();
  ps_async* session = nullptr;
  for (const char* uri : {"heap:", "/tmp/x.img", "store:/tmp/x.img"}) {
    CHECK(ps_async_open(uri, nullptr, &session, &error) == PS_UNSUPPORTED);
    CHECK(session == nullptr);
    CHECK(std::string{error.text}.find("need a daemon") != std::string::npos);
  }
}
