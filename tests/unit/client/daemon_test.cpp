// The library against the real daemon: what only two real ends can show.
#include "tests/support/catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "client/wire/connection.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

std::vector<std::byte> filled(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 13 + seed + (i >> 9)) & 0xff);
  return bytes;
}

bool has(const MemoryError& error, std::string_view part) {
  return std::string_view{error.what()}.find(part) != std::string_view::npos;
}

const std::vector<std::string> one_store{"--store", "demo={dir}/demo.img"};

}  // namespace

TEST_CASE("what one session writes, others read, over TCP and Unix socket alike") {
  Daemon daemon{one_store};
  auto writer = open_session(daemon.tcp_uri("demo", "name=writer"));
  auto reader = open_session(daemon.unix_uri("demo", "access=read"));
  CHECK(writer->grow(40) == 0);
  const auto data = filled(37 * page_size + 1234, 5);  // several requests long
  writer->write(99, data);
  CHECK(reader->pages() == 40);
  std::vector<std::byte> back(data.size());
  reader->read(99, back);
  CHECK((back == data));
  CHECK(writer->version() >= reader->version());
  writer->zero(1000, 5 * page_size);
  reader->read(1000, std::span{back}.first(5 * page_size));
  CHECK(std::all_of(back.begin(), back.begin() + 5 * page_size, [](std::byte b) { return b == std::byte{0}; }));
  const auto ranges = reader->data_ranges(0, 40 * page_size);
  REQUIRE_FALSE(ranges.empty());
  CHECK(ranges.back().offset + ranges.back().length <= 40 * page_size);
  const auto stat = reader->stat();
  REQUIRE(stat.writer);
  CHECK(stat.writer->name == "writer");
  CHECK(stat.sessions_live == 1);
}

TEST_CASE("a second writer is told by whom the store is held, and the lease is free when the first is gone") {
  Daemon daemon{one_store};
  auto first = open_session(daemon.tcp_uri("demo", "name=first"));
  const auto error = thrown_by([&] { (void)open_session(daemon.unix_uri("demo")); });
  CHECK(error.code() == Errc::busy);
  CHECK(has(error, "first"));
  CHECK(has(error, "127.0.0.1"));
  CHECK(has(error, "/demo"));
  for (int i = 0; i < 20; ++i) {
    first.reset();  // returns once the daemon confirmed it
    first = open_session(i % 2 == 0 ? daemon.unix_uri("demo") : daemon.tcp_uri("demo"));
  }
}

TEST_CASE("a writer that waits in line gets the lease when its holder ends") {
  Daemon daemon{one_store};
  auto first = open_session(daemon.tcp_uri("demo", "name=first"));
  std::atomic<bool> opened{false};
  std::thread second{[&] {
    try {
      auto session = open_session(daemon.tcp_uri("demo", "wait_ms=30000&connect_timeout=1s"));
      opened = session->grow(1) == 0;
    } catch (const std::exception&) {
      opened = false;
    }
  }};
  while (first->stat().writers_waiting == 0) std::this_thread::yield();
  first.reset();
  second.join();
  CHECK(opened);
}

TEST_CASE("a store that is not served is not_found") {
  Daemon daemon{one_store};
  const auto error = thrown_by([&] { (void)open(daemon.tcp_uri("other")); });
  CHECK(error.code() == Errc::not_found);
  CHECK(has(error, "other"));
}

TEST_CASE("a connection without a session lists and pings") {
  Daemon daemon{one_store};
  client::Connection connection{client::Endpoint{"127.0.0.1", daemon.port(), ""}, {}};
  std::vector<std::string> names;
  connection.call(proto::ListRequest{}, [&](const proto::ListAnswer& answer) {
    for (const auto& entry : answer.entries) names.emplace_back(entry.store);
  });
  CHECK(names == std::vector<std::string>{"demo"});
  const auto echo = filled(64, 1);
  bool same = false;
  connection.call(proto::PingRequest{echo}, [&](const proto::PingAnswer& answer) {
    same = std::equal(echo.begin(), echo.end(), answer.echo.begin(), answer.echo.end());
  });
  CHECK(same);
  CHECK(connection.server().request_bytes_max >= 1u << 20);
}

TEST_CASE("deep pipelines of large reads and writes pass through") {
  Daemon daemon{one_store};
  { CHECK(open(daemon.tcp_uri("demo"))->grow(64) == 0); }
  client::Connection connection{client::Endpoint{"", 0, daemon.socket_path()}, {}};
  proto::OpenRequest request;
  request.store = "demo";
  connection.call(request, [](const auto&) {});
  const auto data = filled(page_size, 9);
  std::vector<std::vector<std::byte>> into(512, std::vector<std::byte>(page_size));
  std::size_t done = 0;
  for (std::size_t i = 0; i < into.size(); ++i) {
    connection.submit_write(i % 64 * page_size, data, [&](const auto& outcome) { done += outcome.ok(); });
    connection.submit_read(i % 64 * page_size, into[i], [&](const auto& outcome) { done += outcome.ok(); });
  }
  CHECK(connection.run_until([&] { return done == 2 * into.size(); }, client::Clock::now() + patience));
  for (const auto& buffer : into) REQUIRE((buffer == data));
}

TEST_CASE("a daemon that is stopped says goodbye, one that is killed does not, and both are connection_lost") {
  Daemon daemon{one_store};
  auto stopped = open_session(daemon.tcp_uri("demo"));
  stopped->grow(1);
  CHECK(daemon.stop() == 0);
  auto error = thrown_by([&] { stopped->flush(); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "goodbye"));
  CHECK(thrown_by([&] { (void)stopped->size(); }).code() == Errc::connection_lost);
  stopped.reset();

  daemon.start_again();
  auto killed = open_session(daemon.tcp_uri("demo"));
  CHECK(killed->pages() == 1);
  daemon.kill_hard();
  error = thrown_by([&] { killed->flush(); });
  CHECK(error.code() == Errc::connection_lost);
  error = thrown_by([&] { (void)open(daemon.tcp_uri("demo")); });
  CHECK(error.code() == Errc::connection_lost);
  CHECK(has(error, "is pageserverd running there?"));
  daemon.start_again();
  CHECK(open(daemon.tcp_uri("demo"))->pages() == 1);
}

TEST_CASE("a lease that is broken is lost at once, and the next writer's bytes are safe") {
  Daemon daemon{one_store};
  auto old = open_session(daemon.tcp_uri("demo", "name=old"));
  old->grow(1);
  client::Connection admin{client::Endpoint{"127.0.0.1", daemon.port(), ""}, {}};
  proto::OpenRequest request;
  request.store = "demo";
  request.access = proto::Access::read;
  admin.call(request, [](const auto&) {});
  std::string broken;
  admin.call(proto::BreakLeaseRequest{}, [&](const proto::BreakLeaseAnswer& answer) {
    if (answer.broken) broken = answer.broken->name;
  });
  CHECK(broken == "old");
  auto next = open_session(daemon.tcp_uri("demo", "name=next"));
  next->write(0, filled(100, 1));
  const auto data = filled(100, 2);
  const auto error = thrown_by([&] { old->write(0, data); });
  CHECK(error.code() == Errc::lease_lost);
  CHECK(thrown_by([&] { (void)old->pages(); }).code() == Errc::lease_lost);
  std::vector<std::byte> back(100);
  next->read(0, back);
  CHECK((back == filled(100, 1)));
}

TEST_CASE("a transaction in a cache is published in one round trip, and all of it or none") {
  Daemon daemon{one_store};
  RemoteOptions options;
  options.host = "127.0.0.1";
  options.port = daemon.port();
  options.store = "demo";
  options.publish = Publish::on_flush;
  options.cache_bytes = 64 * page_size;
  RemoteProvider writer{options};
  auto reader = open_session(daemon.unix_uri("demo", "access=read"));
  CHECK(writer.grow(8) == 0);
  for (std::uint64_t page = 0; page < 8; ++page) writer.write(page * page_size + 100, filled(3000, 1));
  CHECK(reader->pages() == 0);
  auto before = writer.traffic().round_trips;
  writer.flush();
  CHECK(writer.traffic().round_trips - before == 1);
  CHECK(reader->pages() == 8);
  const auto version = reader->version();

  // A grow that the daemon refuses was thrown where it was asked for: the rest is published by the next flush.
  writer.write(5, filled(70, 2));
  CHECK(thrown_by([&] { writer.grow(1ull << 40); }).code() == Errc::limit_exceeded);
  CHECK(reader->version() == version);
  before = writer.traffic().round_trips;
  writer.flush();
  CHECK(writer.traffic().round_trips - before == 2);
  std::vector<std::byte> back(70);
  reader->read(5, back);
  CHECK((back == filled(70, 2)));
  CHECK(reader->pages() == 8);
  writer.write(5, filled(70, 3));
  before = writer.traffic().round_trips;
  writer.flush();
  CHECK(writer.traffic().round_trips - before == 1);
  reader->read(5, back);
  CHECK((back == filled(70, 3)));

  // And what was not flushed is gone with the lease.
  writer.write(5, filled(70, 4));
  client::Connection admin{client::Endpoint{"127.0.0.1", daemon.port(), ""}, {}};
  proto::OpenRequest request;
  request.store = "demo";
  request.access = proto::Access::read;
  admin.call(request, [](const auto&) {});
  admin.call(proto::BreakLeaseRequest{}, [](const auto&) {});
  CHECK(thrown_by([&] { writer.flush(); }).code() == Errc::lease_lost);
  reader->read(5, back);
  CHECK((back == filled(70, 3)));
}

TEST_CASE("a child after fork leaves the parent's session at the real daemon alone") {
  Daemon daemon{one_store};
  auto session = open_session(daemon.tcp_uri("demo"));
  session->grow(1);
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int status = 1;
    try {
      session->flush();
    } catch (const MemoryError& error) {
      status = error.errc() == Errc::connection_lost ? 0 : 2;
    }
    // The parent's daemon is not this process's to stop: the session alone is destroyed.
    session.reset();
    ::_exit(status);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  session->write(0, filled(10, 3));
  CHECK(session->stat().writer.has_value());
}

TEST_CASE("a flush behind a change that is refused and not answered yet publishes nothing of the transaction") {
  using proto::Operation;
  Daemon daemon{one_store};
  AsyncSession session{daemon.tcp_uri("demo", "access=write&publish=on_flush")};
  const auto reader = open_session(daemon.unix_uri("demo", "access=read"));
  std::vector<std::optional<Errc>> ends;
  const auto note = [&ends](const MemoryError* error) {
    ends.push_back(error == nullptr ? std::nullopt : std::optional{error->errc()});
  };
  const auto finish = [&] {
    ends.clear();  // completions run in here alone
    session.run_until([&] { return session.outstanding() == 0; });
  };
  const auto first_byte = [&] {
    std::vector<std::byte> byte(1);
    reader->read(0, byte);
    return std::to_integer<int>(byte[0]);
  };
  CHECK(session.can_commit());
  session.grow(1, [&](const MemoryError* error, std::uint64_t) { note(error); });
  session.flush(note);
  finish();
  CHECK(ends == std::vector<std::optional<Errc>>{{}, {}});

  const std::vector<std::byte> one(8, std::byte{1}), two(8, std::byte{2});
  const auto version = reader->version();
  std::optional<Errc> refused = Errc::out_of_bounds;
  session.write(0, one, note);
  const Operation operation = GENERATE(Operation::write, Operation::zero, Operation::grow, Operation::discard);
  if (operation == Operation::write) session.write(page_size, one, note);
  if (operation == Operation::zero) session.zero(page_size, 1, note);
  if (operation == Operation::grow) {
    session.grow(1ull << 40, [&](const MemoryError* error, std::uint64_t) { note(error); });
    refused = Errc::limit_exceeded;
  }
  if (operation == Operation::discard) {
    session.write(page_size, two, note);
    session.write(8, two, note);
    session.discard(note);
    session.write(0, two, note);
    session.flush(note);
    finish();
    // What was refused was discarded with the rest, and is no part of what the flush publishes.
    CHECK(ends == std::vector<std::optional<Errc>>{{}, Errc::out_of_bounds, {}, {}, {}, {}});
    CHECK(first_byte() == 2);
    return;
  }
  session.flush(note);
  finish();
  CHECK(ends == std::vector<std::optional<Errc>>{{}, refused, Errc::invalid_argument});
  CHECK(reader->version() == version);
  CHECK(first_byte() == 0);

  SECTION("a flush that nothing unanswered is in front of publishes what there is") {
    session.flush(note);
    finish();
    CHECK(ends == std::vector<std::optional<Errc>>{{}});
    CHECK(first_byte() == 1);
  }
  SECTION("a commit goes on being refused until the transaction is discarded") {
    session.write(0, two, note);
    session.commit(note);
    finish();
    CHECK(ends == std::vector<std::optional<Errc>>{{}, Errc::invalid_argument});
    session.discard(note);
    session.write(0, two, note);
    session.commit(note);
    finish();
    CHECK(ends == std::vector<std::optional<Errc>>{{}, {}, {}});
    CHECK(first_byte() == 2);
  }
}

TEST_CASE("a writer that publishes on write flushes what was published, whatever was refused") {
  Daemon daemon{one_store};
  AsyncSession session{daemon.tcp_uri("demo", "access=write")};
  std::vector<std::optional<Errc>> ends;
  const auto note = [&ends](const MemoryError* error) {
    ends.push_back(error == nullptr ? std::nullopt : std::optional{error->errc()});
  };
  const std::vector<std::byte> one(8, std::byte{1});
  session.write(0, one, note);
  session.flush(note);
  session.commit(note);
  session.run_until([&] { return session.outstanding() == 0; });
  CHECK(ends == std::vector<std::optional<Errc>>{Errc::out_of_bounds, {}, {}});
}

TEST_CASE("a cached session whose program thinks for longer than the daemon waits keeps its session") {
  TempDir dir;
  std::ofstream{dir.file("config.json")} << R"({"limits": {"stall_timeout": "200ms"}})";
  Daemon daemon{{"--config", "{dir}/config.json", "--store", "demo={dir}/demo.img"}, &dir};
  const auto data = filled(40 * page_size, 3);
  {
    auto writer = open_session(daemon.unix_uri("demo"));
    writer->grow(40);
    writer->write(0, data);
  }
  for (const std::string query : {"access=read&view=pinned", "access=write&publish=on_flush", "access=fork"}) {
    for (const auto& uri :
         {daemon.tcp_uri("demo", query + "&cache_bytes=4MiB"), daemon.unix_uri("demo", query + "&cache_bytes=4MiB")}) {
      INFO(uri);
      auto session = open_session(uri);
      auto watcher = open_session(daemon.tcp_uri("demo", "access=read"));
      std::vector<std::byte> piece(100);
      const auto think = [&] {
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{700};
        while (std::chrono::steady_clock::now() < until) (void)watcher->version();
      };
      const auto read = [&](std::size_t page) {
        session->read(page * page_size, piece);
        CHECK(std::equal(piece.begin(), piece.end(), data.begin() + static_cast<std::ptrdiff_t>(page * page_size)));
      };
      for (const std::size_t page : {0u, 1u, 2u, 3u}) read(page);
      think();
      for (const std::size_t page : {4u, 5u, 6u}) read(page);
      think();
      if (query != "access=read&view=pinned") {
        // Pages that are written one after the other go out before the flush: none of them by half.
        for (std::size_t page = 10; page < 30; ++page)
          session->write(page * page_size, std::span{data}.subspan(page * page_size, page_size));
        think();
        session->flush();
      }
      read(7);
    }
  }
}
