// The library over a wire that is cut at each byte: with resume= each call has its one true answer all the same.
#include <poll.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/daemon.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/cut_proxy.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

const std::vector<std::string> one_store{"--store", "s={dir}/s.img"};

std::string through(const CutProxy& proxy, const std::string& query) {
  return "pageserver+unix:///s?socket=" + proxy.path() + "&resume=20&" + query;
}

/// One call after the other. Each is answered as if the wire had held, or an exception says what was not.
void mixed_calls(const std::string& uri) {
  const auto session = open_session(uri);
  const std::uint64_t pages = session->pages();
  const std::uint64_t before = session->version().number;
  CHECK(session->grow(1) == pages);
  write_text(*session, pages * page_size, "one");
  CHECK(text_at(*session, pages * page_size, 3) == "one");
  write_text(*session, pages * page_size, "two");
  CHECK(text_at(*session, pages * page_size, 3) == "two");
  CHECK(session->grow(2) == pages + 1);
  CHECK_THROWS_AS(session->write((pages + 3) * page_size, bytes_of("x")), MemoryError);
  session->flush();
  // Two grows and two writes were published, each once.
  CHECK(session->version().number == before + 4);
  CHECK(session->stat().pages == pages + 3);
}

/// All of them in flight together, so that answers are repeated that later requests would have changed.
void calls_in_flight(const std::string& uri) {
  AsyncSession session{uri};
  std::vector<std::string> history;
  std::vector<std::vector<std::byte>> buffers(6, std::vector<std::byte>(64));
  const auto noted = [&history](const std::string& what) {
    return [&history, what](const MemoryError* error) { history.push_back(error == nullptr ? what : error->what()); };
  };
  const auto grown = [&history](const MemoryError* error, std::uint64_t previous) {
    history.push_back(error == nullptr ? "grow " + std::to_string(previous) : error->what());
  };
  const auto a = bytes_of("aaaa"), b = bytes_of("bbbb"), c = bytes_of("cccc");
  session.write(0, a, noted("write a"));
  session.read(0, buffers[0], noted("read 0"));
  session.write(0, b, noted("write b"));
  session.write(2, c, noted("write c"));
  session.read(0, buffers[1], noted("read 1"));
  session.grow(1, grown);
  session.read(0, buffers[2], noted("read 2"));
  session.discard(noted("discard"));
  session.read(0, buffers[3], noted("read 3"));
  session.grow(2, grown);
  session.write(page_size, a, noted("write d"));
  session.read(page_size, buffers[4], noted("read 4"));
  session.run_until([&] { return session.outstanding() == 0; });
  const std::string grow = "grow " + std::to_string(session.opened().pages);
  CHECK(history == std::vector<std::string>{"write a", "read 0", "write b", "write c", "read 1", grow, "read 2",
                                            "discard", "read 3", grow, "write d", "read 4"});
  const auto text = [&](std::size_t i) { return std::string(reinterpret_cast<const char*>(buffers[i].data()), 6); };
  CHECK(text(0) == std::string("aaaa\0\0", 6));
  CHECK(text(1) == "bbcccc");
  CHECK(text(2) == "bbcccc");
  CHECK(text(3) == std::string(6, '\0'));
  CHECK(text(4) == std::string("aaaa\0\0", 6));
  bool closed = false;
  session.close([&closed](const MemoryError* error) {
    INFO((error == nullptr ? "" : error->what()));
    CHECK(error == nullptr);
    closed = true;
  });
  session.run_until([&] { return closed; });
}

/// What a cache keeps back goes out with flush.
void cached_calls(const std::string& uri) {
  const auto session = open_session(uri);
  const std::uint64_t pages = session->pages();
  const std::uint64_t before = session->version().number;
  session->grow(1);
  write_text(*session, pages * page_size + 7, "kept back");
  write_text(*session, 3, std::to_string(pages));
  session->flush();
  CHECK(session->version().number == before + 1);
  CHECK(text_at(*session, pages * page_size + 7, 9) == "kept back");
  session->discard();
  CHECK(session->pages() == pages + 1);
}

/// `calls` without a cut, then cut at each byte of what went in one direction, then in the other.
void cut_everywhere(Daemon& daemon, const std::string& query, const std::function<void(const std::string&)>& calls,
                    std::uint64_t step, bool half) {
  CutProxy proxy{daemon.file("cut.sock"), daemon.socket_path()};
  proxy.cut_after({});
  calls(through(proxy, query));
  const auto whole = proxy.passed();
  REQUIRE(whole.to_daemon > 200);
  REQUIRE(whole.to_client > 200);
  for (const bool to_daemon : {true, false}) {
    // From behind hello on: that a connection can't be made is told as without resume.
    const std::uint64_t all = to_daemon ? whole.to_daemon : whole.to_client;
    for (std::uint64_t at = 82; at < all; at += step) {
      CAPTURE(query, to_daemon, at, all, half);
      CutProxy::Bytes limit;
      (to_daemon ? limit.to_daemon : limit.to_client) = at;
      proxy.cut_once_after(limit, half);
      calls(through(proxy, query));
    }
  }
}

}  // namespace

TEST_CASE("a wire that is cut at each byte of a mixed workload changes no answer, and nothing is done twice") {
  Daemon daemon{one_store};
  open(daemon.unix_uri("s"))->grow(1);
  SECTION("one call after the other") { cut_everywhere(daemon, "access=write", mixed_calls, 1, false); }
  SECTION("many calls in flight") { cut_everywhere(daemon, "access=fork&name=f", calls_in_flight, 1, false); }
  SECTION("a cache") { cut_everywhere(daemon, "publish=on_flush&cache_bytes=1MiB", cached_calls, 13, false); }
}

TEST_CASE("a peer that the daemon takes for alive is fenced wherever the client left off") {
  Daemon daemon{one_store};
  open(daemon.unix_uri("s"))->grow(1);
  cut_everywhere(daemon, "access=fork", calls_in_flight, 17, true);
}

TEST_CASE("a program that polls a session's descriptor hears of answers over whichever connection") {
  Daemon daemon{one_store};
  open(daemon.unix_uri("s"))->grow(1);
  CutProxy proxy{daemon.file("cut.sock"), daemon.socket_path()};
  proxy.cut_after({});
  AsyncSession session{through(proxy, "access=fork")};
  const int descriptor = session.socket();
  std::vector<std::byte> large(3 * page_size);
  std::size_t done = 0;
  std::string failed;
  for (int turn = 0; turn < 5; ++turn) {
    session.read(0, std::span{large}.first(page_size), [&](const MemoryError* error) {
      ++done;
      if (error != nullptr) failed = error->what();
    });
    if (turn == 1 || turn == 3) {
      pageserver::Daemon asking{daemon.server_uri()};
      REQUIRE(asking.sessions("s").size() == 1);
      proxy.drop();
    }
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (session.outstanding() > 0 && std::chrono::steady_clock::now() < deadline) {
      CHECK(session.socket() == descriptor);
      pollfd polled{descriptor, session.events(), 0};
      ::poll(&polled, 1, 1000);
      session.poll();
    }
  }
  CHECK(failed.empty());
  CHECK(done == 5);
}

TEST_CASE("an opening that waits in line is begun anew when its connection is lost") {
  Daemon daemon{one_store};
  CutProxy proxy{daemon.file("cut.sock"), daemon.socket_path()};
  proxy.cut_after({});
  auto holder = open_session(daemon.unix_uri("s"));
  std::exception_ptr failed;
  std::thread waits{[&] {
    try {
      const auto next = open_session(through(proxy, "wait_ms=20000"));
      next->grow(1);
    } catch (...) {
      failed = std::current_exception();
    }
  }};
  pageserver::Daemon asking{daemon.server_uri()};
  std::uint64_t first = 0;
  const auto place = [&] {
    for (const SessionReport& report : asking.sessions("s"))
      if (report.place_in_line != 0 && report.session_id != first) return report.session_id;
    return std::uint64_t{0};
  };
  wait_until([&] { return place() != 0; });
  first = place();
  proxy.drop();
  wait_until([&] { return place() != 0; });
  holder.reset();
  waits.join();
  if (failed) std::rethrow_exception(failed);
  CHECK(open_session(daemon.unix_uri("s", "access=read"))->pages() == 1);
}

TEST_CASE("past its time a session is lost, and the text says what is known to be done") {
  Daemon daemon{one_store};
  const auto session = open_session(daemon.unix_uri("s", "resume=1"));
  session->grow(1);
  daemon.kill_hard();
  try {
    session->grow(1);
    FAIL("it grew without a daemon");
  } catch (const MemoryError& error) {
    const std::string text = error.what();
    INFO(text);
    CHECK(error.errc() == Errc::connection_lost);
    CHECK(text.find("resume=1s did not help") != std::string::npos);
    CHECK(text.find("Without an answer") != std::string::npos);
  }
  CHECK_THROWS_AS(session->pages(), MemoryError);
  daemon.start_again();
}

TEST_CASE("a daemon that was started again does not know a session that is no writer's, and says so") {
  Daemon daemon{one_store};
  const auto session = open_session(daemon.unix_uri("s", "access=fork&resume=20"));
  session->grow(1);
  daemon.kill_hard();
  daemon.start_again();
  try {
    session->grow(1);
    FAIL("it grew in a session that is over");
  } catch (const MemoryError& error) {
    CHECK(error.errc() == Errc::connection_lost);
    CHECK(std::string(error.what()).find("no session has this token") != std::string::npos);
  }
}

TEST_CASE("faults that cut the connection change no answer of a session that is resumed") {
  Daemon daemon{{"--allow-faults", "--store", "s={dir}/s.img"}};
  daemon.expect_complaint("faults can be ordered");
  open(daemon.unix_uri("s"))->grow(1);
  for (const std::string action : {"cut=before", "cut=after", "torn=7", "torn"}) {
    for (const std::string request : {"any:1", "any:2", "any:3", "any:5", "grow:2", "read:2", "flush"}) {
      const std::string orders = request + ":" + action;
      INFO(orders);
      mixed_calls(daemon.unix_uri("s", "resume=20&faults=" + orders));
      calls_in_flight(daemon.unix_uri("s", "access=fork&resume=20&faults=" + orders));
    }
  }
}

}  // namespace pageserver::test
