// When a connection polls before it sleeps, and what a wait costs in system calls.
#include "tests/support/catch.hpp"

#include <array>

#include "base/poll_budget.hpp"
#include "tests/unit/client/wire_peer.hpp"

using namespace pageserver;
using namespace pageserver::client;
using base::poll_bound;
using base::PollBudget;
using namespace pageserver::test;
using namespace std::chrono_literals;

namespace {

/// A connection with `poll_us`, whose hello was answered.
struct Polling {
  explicit Polling(std::optional<std::uint32_t> poll_us) {
    peer.hello();
    ConnectionOptions options;
    options.poll_us = poll_us;
    connection.emplace(peer.take_client_end(), Endpoint{"fake", 1, ""}, options);
    (void)peer.requests();
  }

  /// A ping whose answer is there before it is waited for.
  void ping() {
    connection->submit(proto::PingRequest{}, [](const auto&) {});
    peer.answer(next_id++, proto::PingAnswer{});
    REQUIRE(connection->progress());
  }
  /// A wait of `time` for an answer that does not come. Returns how often it looked while polling.
  std::uint64_t wait_in_vain(std::chrono::milliseconds time) {
    const auto before = connection->counters().polls_in_vain;
    connection->submit(proto::PingRequest{}, [](const auto&) {});
    CHECK_FALSE(connection->progress(Clock::now() + time));
    peer.answer(next_id++, proto::PingAnswer{});
    const auto polls = connection->counters().polls_in_vain - before;
    while (connection->outstanding() > 0) connection->advance();
    return polls;
  }

  WirePeer peer;
  std::optional<Connection> connection;
  std::uint64_t next_id = 2;
};

}  // namespace

TEST_CASE("polling ends after some waits longer than its bound, and begins again after some short ones") {
  PollBudget budget{50us};
  CHECK(budget.window() == 50us);
  int long_waits = 0;
  for (; budget.window() > 0us && long_waits < 100; ++long_waits) budget.record(10ms);
  CHECK(long_waits >= 3);
  CHECK(long_waits <= 10);
  int short_waits = 0;
  for (; budget.window() == 0us && short_waits < 100; ++short_waits) budget.record(20us);
  CHECK(short_waits >= 1);
  CHECK(short_waits <= 10);
}

TEST_CASE("one long wait among short ones does not end polling") {
  PollBudget budget{50us};
  for (int i = 0; i < 100; ++i) {
    budget.record(i % 10 == 0 ? 5'000us : 10us);
    CHECK(budget.window() == 50us);
  }
}

TEST_CASE("a bound of zero never polls, and no bound exceeds the maximum") {
  PollBudget budget{poll_bound(0, 2)};
  CHECK_FALSE(budget.is_on());
  CHECK(budget.window() == 0us);
  CHECK(poll_bound(7, 1) == 7us);
  CHECK(poll_bound(1'000'000, 2) == std::chrono::microseconds{base::poll_us_max});
  CHECK(poll_bound({}, 2) == std::chrono::microseconds{base::poll_us_auto});
  CHECK(poll_bound({}, 1) == 0us);
}

TEST_CASE("a request that is waited for alone is one send and one receive") {
  const std::uint32_t poll_us = GENERATE(0u, 1000u);
  Polling link{poll_us};
  const auto before = link.connection->counters();
  for (int i = 0; i < 10; ++i) link.ping();
  CHECK(link.connection->counters().send_calls - before.send_calls == 10);
  CHECK(link.connection->counters().receive_calls - before.receive_calls == 10);
}

TEST_CASE("with poll_us=0 nothing is polled for") {
  Polling link{0};
  CHECK(link.wait_in_vain(3ms) == 0);
}

TEST_CASE("waits that polled in vain end polling, and answers that come at once begin it again") {
  Polling link{1000};
  link.ping();
  CHECK(link.wait_in_vain(3ms) > 0);
  int rounds = 0;
  while (link.wait_in_vain(3ms) > 0 && rounds < 50) ++rounds;
  CHECK(rounds < 20);
  rounds = 0;
  do {
    for (int i = 0; i < 4; ++i) link.ping();
  } while (link.wait_in_vain(3ms) == 0 && ++rounds < 50);
  CHECK(rounds < 20);
}

TEST_CASE("a connection with nothing in flight sleeps") {
  Polling link{1000};
  CHECK_FALSE(link.connection->progress(Clock::now() + 3ms));
  CHECK(link.connection->counters().polls_in_vain == 0);
}
