// The writer lease between real clients of a real daemon.
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/child.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test {
namespace {

std::uint64_t load(MemoryProvider& image, std::uint64_t offset) {
  std::uint64_t value = 0;
  image.read(offset, std::as_writable_bytes(std::span{&value, 1}));
  return value;
}

void put(MemoryProvider& image, std::uint64_t offset, std::uint64_t value) {
  image.write(offset, std::as_bytes(std::span{&value, 1}));
}

void prepare(Daemon& daemon, std::uint64_t pages) {
  const auto image = open(daemon.unix_uri("s"));
  image->grow(pages);
  image->flush();
}

/// Waits until the store's report satisfies `wanted`, asking again over one session.
template <class Wanted>
void wait_for_stat(Daemon& daemon, Wanted wanted) {
  const auto observer = open_session(daemon.unix_uri("s", "access=read"));
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!wanted(observer->stat())) REQUIRE(std::chrono::steady_clock::now() < deadline);
}

/// The code of the error that `action` throws.
template <class Action>
Errc code_of(Action action) {
  try {
    action();
  } catch (const MemoryError& error) {
    return error.errc();
  }
  FAIL("no error was thrown");
  return Errc::provider_error;
}

}  // namespace

TEST_CASE("writers that race for the lease never hold it together") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 1);
  constexpr int writers = 8;
  constexpr int turns = 10;
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  std::vector<std::string> failures(writers);
  std::vector<std::thread> threads;
  for (int writer = 0; writer < writers; ++writer)
    threads.emplace_back([&, writer] {
      try {
        for (int turn = 0; turn < turns; ++turn) {
          const auto image = open(daemon.tcp_uri("s", "wait_ms=60000"));
          if (inside.fetch_add(1) != 0) overlaps.fetch_add(1);
          put(*image, 0, load(*image, 0) + 1);
          inside.fetch_sub(1);
        }
      } catch (const std::exception& error) {
        failures[static_cast<std::size_t>(writer)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) CHECK(failure == "");
  CHECK(overlaps == 0);
  CHECK(load(*open(daemon.tcp_uri("s", "access=read")), 0) == writers * turns);
}

TEST_CASE("a line of fifty is served first come, first served") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 1);
  constexpr std::uint64_t waiting = 50;
  auto holder = open(daemon.tcp_uri("s"));
  std::mutex mutex;
  std::vector<std::uint64_t> order;
  std::vector<std::string> failures;
  std::vector<std::thread> threads;
  for (std::uint64_t place = 0; place < waiting; ++place) {
    threads.emplace_back([&, place] {
      try {
        const auto image = open(daemon.tcp_uri("s", "wait_ms=60000"));
        const std::lock_guard lock{mutex};
        order.push_back(place);
      } catch (const std::exception& error) {
        const std::lock_guard lock{mutex};
        failures.emplace_back(error.what());
      }
    });
    wait_for_stat(daemon, [&](const Stat& stat) { return stat.writers_waiting == place + 1; });
  }
  const Errc refused = code_of([&] { open(daemon.tcp_uri("s")); });
  CHECK(refused == Errc::busy);
  holder.reset();
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == std::vector<std::string>{});
  std::vector<std::uint64_t> expected(waiting);
  for (std::uint64_t place = 0; place < waiting; ++place) expected[place] = place;
  CHECK(order == expected);
}

TEST_CASE("who leaves the line gives up the place and holds up nobody") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 1);
  auto holder = open(daemon.tcp_uri("s"));
  std::string failure = "was not served";
  {
    Child leaver{[&](auto report) {
      report("in line");
      open(daemon.tcp_uri("s", "wait_ms=60000"));
    }};
    CHECK(leaver.next_line() == "in line");
    wait_for_stat(daemon, [](const Stat& stat) { return stat.writers_waiting == 1; });
  }  // killed while it waits
  wait_for_stat(daemon, [](const Stat& stat) { return stat.writers_waiting == 0; });
  std::thread next{[&] {
    try {
      open(daemon.tcp_uri("s", "wait_ms=60000"));
      failure = "";
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }};
  wait_for_stat(daemon, [](const Stat& stat) { return stat.writers_waiting == 1; });
  holder.reset();
  next.join();
  CHECK(failure == "");
}

TEST_CASE("a stopped writer whose lease was broken changes nothing when it wakes up") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 2);
  Child writer{[&](auto report) {
    const auto image = open(daemon.tcp_uri("s"));
    for (std::uint64_t number = 1;; ++number) {
      try {
        put(*image, 0, number);
      } catch (const MemoryError& error) {
        report(std::string{to_string(error.errc())});
        // The session stays lost: nothing that it asks for later is applied either.
        report(std::string{to_string(code_of([&] { put(*image, 8, 1); }))});
        report(std::string{to_string(code_of([&] { image->flush(); }))});
        return;
      }
      if (number == 100) report("writes");
    }
  }};
  REQUIRE(writer.next_line() == "writes");
  writer.stop();
  wait_for_stat(daemon, [](const Stat& stat) { return stat.writer.has_value(); });
  const RunResult broken = run({pagectl_path(), "lease", daemon.tcp_uri("s"), "--break"});
  INFO(broken.err);
  REQUIRE(broken.status == 0);
  const auto image = open(daemon.tcp_uri("s"));
  constexpr std::uint64_t ours = ~0ull;
  put(*image, 0, ours);
  put(*image, 8, ours);
  writer.signal(SIGCONT);
  CHECK(writer.next_line() == "lease_lost");
  CHECK(writer.next_line() == "lease_lost");
  CHECK(writer.next_line() == "lease_lost");
  CHECK(load(*image, 0) == ours);
  CHECK(load(*image, 8) == ours);
}

TEST_CASE("writes in flight when the lease is broken are applied before the next writer's, or not at all") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 2);
  for (int round = 0; round < 20; ++round) {
    INFO("round " << round);
    Child writer{[&](auto report) {
      const auto image = open(daemon.tcp_uri("s"));
      report("holds");
      for (std::uint64_t number = 1;; ++number) put(*image, 0, number);
    }};
    REQUIRE(writer.next_line() == "holds");
    const auto breaker = open_session(daemon.tcp_uri("s", "access=read"));
    for (std::uint64_t before = load(*breaker, 0); load(*breaker, 0) == before;) {
    }
    REQUIRE(run({pagectl_path(), "lease", daemon.tcp_uri("s"), "--break"}).status == 0);
    const auto image = open(daemon.tcp_uri("s"));
    put(*image, 0, 0);
    const std::string end = writer.next_line();  // the old writer has heard of it, so all that it sent was handled
    CHECK(end.find("lease") != std::string::npos);
    REQUIRE(load(*image, 0) == 0);
  }
}

TEST_CASE("private bytes of a writer that disconnects leave no trace") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon, 2);
  {
    Child writer{[&](auto report) {
      const auto image = open(daemon.tcp_uri("s", "publish=on_flush"));
      put(*image, 0, 1);
      image->grow(3);
      report("wrote");
      ::pause();
    }};
    REQUIRE(writer.next_line() == "wrote");
    const auto reader = open(daemon.tcp_uri("s", "access=read"));
    CHECK(load(*reader, 0) == 0);
    CHECK(reader->pages() == 2);
  }
  const auto next = open(daemon.tcp_uri("s", "wait_ms=30000"));
  CHECK(load(*next, 0) == 0);
  CHECK(next->pages() == 2);
}

}  // namespace pageserver::test
