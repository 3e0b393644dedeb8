// A daemon that stands by for another: it follows a killed, stopped or asked one at once, and clients that know both
// find the one that serves.
#include "tests/support/catch.hpp"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>
#include <pageserver/session.hpp>

#include "tests/ceph/cluster.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::unique_ptr<Daemon> serve(const std::string& path, bool standby = false) {
  std::vector<std::string> flags{"--store", "a=" + path};
  if (standby) flags.emplace_back("--standby");
  return std::make_unique<Daemon>(flags);
}

milliseconds since(Clock::time_point began) { return std::chrono::duration_cast<milliseconds>(Clock::now() - began); }

void write_number(MemoryProvider& memory, std::uint64_t number) {
  memory.write(0, std::as_bytes(std::span{&number, 1}));
  memory.flush();
}

std::uint64_t read_number(MemoryProvider& memory) {
  std::uint64_t number = 0;
  memory.read(0, std::as_writable_bytes(std::span{&number, 1}));
  return number;
}

/// `pageserver://127.0.0.1:PORT,127.0.0.1:PORT/a`
std::string both(const Daemon& one, const Daemon& other, const std::string& query = {}) {
  return "pageserver://127.0.0.1:" + std::to_string(one.port()) + ",127.0.0.1:" + std::to_string(other.port()) + "/a" +
         (query.empty() ? "" : "?" + query);
}

/// Asks over and over until the store is served, and returns its number.
std::uint64_t read_when_served(const std::string& uri) {
  std::uint64_t number = 0;
  wait_until([&] {
    try {
      number = read_number(*open(uri));
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  });
  return number;
}

TEST_CASE("standby: says who serves, and follows once that one is killed, within its lease and the time of a replay") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  const auto writer = open(first->tcp_uri("a"));
  constexpr std::uint64_t log_pages = 512;  // 32 MiB
  writer->grow(1 + log_pages);
  for (std::uint64_t page = 1; page <= log_pages; ++page) writer->write(page * page_size, pattern(page_size, 3));
  write_number(*writer, 7);
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  CHECK(second->log().find("process " + std::to_string(first->pid())) != std::string::npos);
  check_error(thrown_by([&] { static_cast<void>(open(second->tcp_uri("a", "access=read"))); }), Errc::busy,
              {"this daemon stands by", "locked by", "process " + std::to_string(first->pid()), "since"});
  const auto began = Clock::now();
  first->kill_hard();
  CHECK(read_when_served(second->tcp_uri("a", "access=read")) == 7);
  const auto took = since(began);
  std::cout << "followed after a kill, with 32 MiB of log, in " << took.count() << " ms" << std::endl;
  CHECK(took <= milliseconds{6000});
  second->wait_for_log("store taken");
  std::vector<std::byte> page(page_size);
  open(second->tcp_uri("a", "access=read"))->read(log_pages * page_size, page);
  CHECK(page == pattern(page_size, 3));
  CHECK(second->stop() == 0);
}

TEST_CASE("standby: a clean stop hands the store over at once") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  {
    const auto writer = open(first->tcp_uri("a"));
    writer->grow(16);
    write_number(*writer, 8);
  }
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  const auto began = Clock::now();
  CHECK(first->stop() == 0);
  const auto stopped = Clock::now();
  CHECK(read_when_served(second->tcp_uri("a", "access=read")) == 8);
  std::cout << "followed a stop, which took " << std::chrono::duration_cast<milliseconds>(stopped - began).count()
            << " ms, in " << since(stopped).count() << " ms" << std::endl;
  CHECK(since(stopped) < milliseconds{1000});
  CHECK(second->stop() == 0);
}

TEST_CASE("standby: a daemon is asked to give a store up, and its sessions get lease_lost") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path, true);
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  const auto writer = open(first->tcp_uri("a"));
  writer->grow(16);
  write_number(*writer, 9);
  const auto reader = open(first->tcp_uri("a", "access=read"));
  CHECK(read_number(*reader) == 9);
  const auto taken = run({pagectl_path(), "takeover", second->tcp_uri("a"), "--json"});
  INFO(taken.err);
  REQUIRE(taken.status == 0);
  const auto document = nlohmann::json::parse(taken.out);
  CHECK(document["was_here"] == false);
  CHECK(document["holder"].get<std::string>().find("process " + std::to_string(first->pid())) != std::string::npos);
  std::cout << "taken over, asking included, in " << document["took_ms"] << " ms" << std::endl;
  CHECK(document["took_ms"] < 3000);
  const auto next = open(second->tcp_uri("a"));
  CHECK(read_number(*next) == 9);
  write_number(*next, 10);
  for (MemoryProvider* const old : {writer.get(), reader.get()})
    check_error(thrown_by([&] { read_number(*old); }), Errc::lease_lost, {"given up to"});
  CHECK(thrown_by([&] { write_number(*writer, 11); }).code() == Errc::lease_lost);
  CHECK(read_number(*next) == 10);
  // The one that gave it up stands by now, and says so; and the other way round it goes as well.
  first->wait_for_log("store given up");
  CHECK(thrown_by([&] { static_cast<void>(open(first->tcp_uri("a"))); }).code() == Errc::busy);
  const auto back = run({pagectl_path(), "takeover", first->tcp_uri("a")});
  INFO(back.err);
  CHECK(back.status == 0);
  CHECK(read_number(*open(first->tcp_uri("a", "access=read"))) == 10);
  CHECK(run({pagectl_path(), "takeover", first->tcp_uri("a")}).out.find("already") != std::string::npos);
  CHECK(second->stop() == 0);
  CHECK(first->stop() == 0);
}

TEST_CASE("standby: a store of a daemon that is dead for its operator is taken without waiting for the lease") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  const auto writer = open(first->tcp_uri("a", "publish=on_flush"));
  writer->grow(16);
  write_number(*writer, 12);
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  first->process().pause();
  const auto began = Clock::now();
  const auto taken = run({pagectl_path(), "takeover", second->tcp_uri("a"), "--dead"});
  INFO(taken.err);
  REQUIRE(taken.status == 0);
  std::cout << "taken from one that stands still in " << since(began).count() << " ms" << std::endl;
  CHECK(since(began) < milliseconds{1500});
  const auto next = open(second->tcp_uri("a"));
  CHECK(read_number(*next) == 12);
  write_number(*next, 13);
  // It was not: it changes nothing all the same.
  first->expect_complaint("store taken over");
  first->process().signal(SIGCONT);
  CHECK(thrown_by([&] { write_number(*writer, 14); }).code() == Errc::lease_lost);
  first->wait_for_log("store taken over");
  CHECK(read_number(*next) == 13);
  CHECK(first->stop() == 0);
  CHECK(second->stop() == 0);
}

TEST_CASE("standby: a session with resume= goes on where the store is served, after a kill and after a takeover") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  open(first->tcp_uri("a"))->grow(16);
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  const std::string publish = GENERATE("on_write", "on_flush");
  INFO("publish=" << publish);
  // The one that stands by comes first in the URI.
  const std::string uri = both(*second, *first, "resume=60&publish=" + publish);
  const auto session = open(uri);
  write_number(*session, 20);
  std::uint64_t number = 21;
  session->write(8, std::as_bytes(std::span{&number, 1}));
  // A kill is to a pool what a loss of power is to a disk: what on_write had answered must be flushed to be there. What
  // was private the library sends again.
  if (publish == "on_write") session->flush();
  first->kill_hard();
  const auto began = Clock::now();
  session->flush();
  std::cout << "a session went on after a kill in " << since(began).count() << " ms" << std::endl;
  CHECK(since(began) < milliseconds{6000});
  std::uint64_t found = 0;
  session->read(8, std::as_writable_bytes(std::span{&found, 1}));
  CHECK(found == 21);
  CHECK(read_number(*session) == 20);
}

TEST_CASE("standby: takeovers under a session that writes lose and repeat nothing, with some milliseconds between") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path, true);
  auto second = serve(path, true);
  second->wait_for_log("standing by");
  const auto session = open(both(*first, *second, "resume=60&publish=on_flush"));
  session->grow(16);
  std::atomic<bool> ends{false};
  std::atomic<std::uint64_t> answered{0};
  milliseconds longest{0};
  std::string failed;
  std::thread writer{[&] {
    for (std::uint64_t number = 1; !ends; ++number) try {
        const auto began = Clock::now();
        // Not idempotent: what is carried out twice, or not at all, shows.
        std::uint64_t before = 0;
        session->read(0, std::as_writable_bytes(std::span{&before, 1}));
        if (before != number - 1) break;
        write_number(*session, number);
        answered = number;
        longest = std::max(longest, since(began));
      } catch (const MemoryError& error) {
        failed = error.what();
        ends = true;
        return;
      }
  }};
  for (int round = 0; round < 4; ++round) {
    const std::uint64_t before = answered;
    wait_until([&] { return answered > before + 20 || ends; });
    const auto taken = run({pagectl_path(), "takeover", (round % 2 == 0 ? second : first)->tcp_uri("a"), "--json"});
    INFO(taken.err);
    CHECK(taken.status == 0);
  }
  const std::uint64_t before = answered;
  wait_until([&] { return answered > before + 20 || ends; });
  ends = true;
  writer.join();
  INFO(first->log() << "\n----\n" << second->log());
  CHECK(failed.empty());
  std::cout << "longest commit around 4 takeovers " << longest.count() << " ms, " << answered << " commits"
            << std::endl;
  CHECK(read_number(*session) == answered);
  CHECK(longest < milliseconds{1000});
}

TEST_CASE("standby: takeover is for who has the right admin, and for a store that others can reach") {
  TempDir folder;
  Daemon daemon{{"--store", "b=" + folder.file("b.img")}};
  CHECK(run({pagectl_path(), "takeover", daemon.tcp_uri("b")}).out.find("already") != std::string::npos);
  CHECK(run({pagectl_path(), "takeover", daemon.tcp_uri("none")}).status == 1);
  const auto refused = run({pageserverd_path(), "--standby", "--store", "b=" + folder.file("c.img"), "--check-config"});
  CHECK(refused.status == 1);
  CHECK(refused.err.find("no store lies in a Ceph pool") != std::string::npos);
}

}  // namespace
}  // namespace pageserver::test
