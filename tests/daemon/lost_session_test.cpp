// Programs hear that their session is over without asking: the lease was taken, or somebody kicked them.
#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {
namespace {

const std::vector<std::string> one_store{"--store", "s={dir}/s.img"};

template <class Condition>
void wait_until(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) REQUIRE(std::chrono::steady_clock::now() < deadline);
}

/// Ends every session on the store.
void kick_all(const Daemon& daemon) {
  pageserver::Daemon asking{daemon.server_uri()};
  for (const auto& report : asking.sessions("s")) {
    CHECK(report.state == SessionState::session);
    const Kicked kicked = asking.kick(report.session_id, "enough of it");
    CHECK(kicked.released);
    CHECK(kicked.session.session_name == report.session_name);
  }
  CHECK(asking.load("s").store_calls_stuck == 0);
}

}  // namespace

TEST_CASE("a session that does nothing hears that its lease is gone, or its daemon") {
  const std::string query = GENERATE("", "cache_bytes=1MiB", "publish=on_flush&cache_bytes=1MiB");
  INFO(query);
  Daemon daemon{one_store};
  const auto writer = open_session(daemon.unix_uri("s", query));
  writer->grow(2);
  CHECK_FALSE(writer->lost());
  const auto reader = open_session(daemon.unix_uri("s", "access=read"));
  const auto broken = reader->break_lease();
  REQUIRE(broken);
  CHECK(broken->access == Access::write);
  CHECK_FALSE(reader->break_lease());
  CHECK_FALSE(reader->break_lease(4711));
  wait_until([&] { return writer->lost().has_value(); });
  CHECK(writer->lost()->errc() == Errc::lease_lost);
  CHECK_FALSE(reader->lost());
  kick_all(daemon);
  wait_until([&] { return reader->lost().has_value(); });
  CHECK(reader->lost()->errc() == Errc::connection_lost);
  CHECK(std::string(reader->lost()->what()).find("enough of it") != std::string::npos);
  // The same from every call.
  CHECK_THROWS_AS(reader->stat(), MemoryError);
}

TEST_CASE("an event loop that watches a session's socket hears of a lost lease at once") {
  Daemon daemon{one_store};
  RemoteOptions options;
  options.socket_path = daemon.socket_path();
  options.store = "s";
  RemoteProvider writer{options};
  pollfd watched{writer.socket(), POLLIN, 0};
  REQUIRE(::poll(&watched, 1, 0) == 0);
  options.access = Access::read;
  RemoteProvider reader{options};
  REQUIRE(reader.break_lease(0));
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
  REQUIRE(::poll(&watched, 1, static_cast<int>(limit)) == 1);
  wait_until([&] { return writer.lost().has_value(); });
  CHECK(::poll(&watched, 1, 0) == 0);
}

TEST_CASE("an asynchronous session is told of it once, also while nothing is outstanding") {
  Daemon daemon{one_store};
  AsyncSession writer{daemon.unix_uri("s")};
  AsyncSession other{daemon.unix_uri("s", "access=read")};
  std::vector<Errc> told;
  writer.on_lost([&](const MemoryError& reason) {
    told.push_back(reason.errc());
    CHECK_THROWS_AS(writer.poll(), MemoryError);  // as in a completion
  });
  CHECK(writer.poll() == 0);
  bool broken = false;
  other.break_lease(0, [&](const MemoryError* error, const auto& found) { broken = error == nullptr && found; });
  other.run_until([&] { return broken; });
  // It waits for that alone.
  CHECK(writer.wait(std::chrono::steady_clock::now() + patience));
  CHECK(told == std::vector{Errc::lease_lost});
  CHECK(writer.poll() == 0);

  std::vector<Errc> ended;
  other.on_lost([&](const MemoryError& reason) { ended.push_back(reason.errc()); });
  writer.on_lost([&](const MemoryError& reason) { told.push_back(reason.errc()); });
  bool failed = false;
  std::vector<std::byte> byte(1);
  kick_all(daemon);
  wait_until([&] {
    other.poll();
    return !ended.empty();
  });
  CHECK(ended == std::vector{Errc::connection_lost});
  try {
    other.read(0, byte, [&](const MemoryError*) {});
  } catch (const MemoryError& error) {
    failed = error.errc() == Errc::connection_lost;
  }
  CHECK(failed);
  // One that asks late is told as well.
  wait_until([&] {
    writer.poll();
    return told.size() == 2;
  });
}

TEST_CASE("a kicked session's private pages are gone with it, cached here or kept by the daemon") {
  const std::string query = GENERATE("publish=on_flush", "publish=on_flush&cache_bytes=1MiB",
                                     "publish=on_flush&cache_bytes=128KiB", "access=fork&cache_bytes=1MiB");
  INFO(query);
  Daemon daemon{one_store};
  const std::vector<std::byte> published = pattern(8 * page_size, 1);
  {
    const auto first = open(daemon.unix_uri("s"));
    first->grow(8);
    first->write(0, published);
    first->flush();
  }
  const auto writer = open_session(daemon.unix_uri("s", query));
  std::vector<std::byte> bytes(8 * page_size);
  writer->read(0, bytes);
  for (std::uint64_t page = 0; page < 8; ++page) writer->write(page * page_size + 10, pattern(5000, 2));
  kick_all(daemon);
  wait_until([&] { return writer->lost().has_value(); });
  CHECK(writer->lost()->errc() == Errc::connection_lost);
  // No call takes what is cached for what the store has.
  const auto code_of = [](const auto& call) {
    try {
      call();
    } catch (const MemoryError& error) {
      return std::optional<Errc>{error.errc()};
    }
    return std::optional<Errc>{};
  };
  CHECK(code_of([&] { writer->flush(); }) == Errc::connection_lost);
  CHECK(code_of([&] { writer->write(0, pattern(8, 3)); }) == Errc::connection_lost);
  CHECK(code_of([&] { writer->read(0, bytes); }) == Errc::connection_lost);
  CHECK(code_of([&] { writer->close(); }) == Errc::connection_lost);
  // The lease is free, and nothing of it is there.
  const auto next = open_session(daemon.unix_uri("s"));
  next->read(0, bytes);
  CHECK(bytes == published);
}

TEST_CASE("a kicked asynchronous session's operations each end once, and nothing of its transaction is published") {
  Daemon daemon{one_store};
  open(daemon.unix_uri("s"))->grow(8);
  AsyncSession writer{daemon.unix_uri("s", "publish=on_flush")};
  std::size_t told = 0;
  writer.on_lost([&](const MemoryError& reason) { told += reason.errc() == Errc::connection_lost ? 1u : 100u; });
  const std::vector<std::byte> data = pattern(page_size, 1);
  std::vector<int> runs(64);
  std::size_t failed = 0;
  const auto write = [&](std::size_t number) {
    writer.write(number % 8 * page_size, data, [&, number](const MemoryError* error) {
      ++runs[number];
      if (error == nullptr) return;
      CHECK(error->errc() == Errc::connection_lost);
      ++failed;
    });
  };
  for (std::size_t i = 0; i < 32; ++i) write(i);
  writer.run_until([&] { return writer.outstanding() == 0; });
  CHECK(failed == 0);
  kick_all(daemon);
  // These find nobody: they are sent, or not, before this end has heard of it.
  for (std::size_t i = 32; i < runs.size(); ++i) write(i);
  wait_until([&] {
    writer.poll();
    return told != 0 && writer.outstanding() == 0;
  });
  CHECK(told == 1);
  CHECK(runs == std::vector<int>(64, 1));
  CHECK(failed == 32);
  const auto next = open_session(daemon.unix_uri("s"));
  std::vector<std::byte> bytes(8 * page_size, std::byte{9});
  next->read(0, bytes);
  CHECK(bytes == std::vector<std::byte>(8 * page_size));
}

TEST_CASE("an embedded store's session tells the same way") {
  TempDir dir;
  const auto session = open_session("store:" + dir.file("s.img"));
  session->grow(1);
  CHECK_FALSE(session->lost());
  REQUIRE(session->break_lease(0));
  REQUIRE(session->lost());
  CHECK(session->lost()->errc() == Errc::lease_lost);
}

}  // namespace pageserver::test
