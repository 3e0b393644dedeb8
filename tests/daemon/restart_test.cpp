// Sessions that outlive the daemon: it is killed before each call by which it changes something, or stopped, and
// started again at the same address; the library goes on, and each call has its one true answer.
#include <poll.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pageserver/async_session.hpp>
#include <pageserver/open.hpp>
#include <pageserver/remote_provider.hpp>

#include "tests/support/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/fault_shim.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

/// A daemon on one Unix socket that is killed on order. Whoever ended it, it is started again, until the end of the
/// test.
class MortalDaemon {
public:
  MortalDaemon() {
    std::ofstream(dir_.file("c.json")) << R"({"directory": {"path": ")" << dir_.path().string()
                                       << R"(", "create": true}, "limits": {"log_bytes": "4MiB"}})";
    start();
    starts_ = 1;
    waker_ = std::thread{[this] { keep_alive(); }};
  }
  MortalDaemon(const MortalDaemon&) = delete;
  MortalDaemon& operator=(const MortalDaemon&) = delete;
  ~MortalDaemon() {
    ends_ = true;
    order_->kind = FaultKind::none;
    process_->signal(SIGTERM);
    waker_.join();
  }

  /// It is killed before call number `nth` from now on that changes something, and the one that is started then before
  /// its first such call, and so on, `times` in all.
  void kill_before(std::uint64_t nth, std::uint64_t times = 1) {
    order_->kind = FaultKind::none;
    order_->first = nth;
    order_->count = times;
    order_->calls = 0;
    order_->failed = 0;
    order_->kind = FaultKind::kill;
  }
  void let_live() { order_->kind = FaultKind::none; }
  std::uint64_t kills() const { return order_->failed; }
  std::uint64_t calls() const { return order_->calls; }
  std::uint64_t starts() const { return starts_; }
  void stop() { process_->signal(SIGTERM); }
  /// Before it is started the next time.
  void meanwhile(std::function<void()> act) { meanwhile_ = std::move(act); }

  std::string uri(const std::string& query = {}) const {
    return "pageserver+unix:///demo?socket=" + dir_.file("s") + (query.empty() ? "" : "&" + query);
  }
  std::string file(const std::string& name) const { return dir_.file(name); }

private:
  void start() {
    process_.emplace(std::vector<std::string>{
        "/usr/bin/env", std::string(fault_order_variable) + "=" + dir_.file("order"),
        std::string("LD_PRELOAD=") + FAULT_SHIM_PATH, pageserverd_path(), "--unix", dir_.file("s"), "--store",
        "demo=" + dir_.file("demo.img"), "--config", dir_.file("c.json")});
    process_->wait_for_err(" INFO start ");
  }
  void keep_alive() {
    for (;;) {
      pollfd polled{process_->pidfd(), POLLIN, 0};
      ::poll(&polled, 1, -1);
      process_->wait();
      if (ends_) return;
      if (const auto act = std::exchange(meanwhile_, nullptr)) act();
      std::uint64_t tries = 1;
      for (;; ++tries) {
        try {
          start();
          break;
        } catch (const std::runtime_error&) {
          // It was killed while it started.
        }
      }
      starts_ += tries;
      if (ends_) process_->signal(SIGTERM);
    }
  }

  TempDir dir_;
  SharedFaultOrder order_{dir_.file("order")};
  std::optional<Process> process_;
  std::function<void()> meanwhile_;
  std::atomic<std::uint64_t> starts_{0};
  std::atomic<bool> ends_{false};
  std::thread waker_;
};

/// Each write is a publish of its own.
void calls_on_write(const std::string& uri) {
  const auto session = open_session(uri);
  const std::uint64_t pages = session->pages();
  CHECK(session->grow(1) == pages);
  write_text(*session, pages * page_size, "one");
  CHECK(text_at(*session, pages * page_size, 3) == "one");
  write_text(*session, pages * page_size, "two");
  session->zero(pages * page_size + 1, 1);
  CHECK(text_at(*session, pages * page_size, 3) == std::string("t\0o", 3));
  CHECK(session->grow(2) == pages + 1);
  CHECK_THROWS_AS(session->write((pages + 3) * page_size, bytes_of("x")), MemoryError);
  CHECK(session->pages() == pages + 3);
  session->flush();
  CHECK(session->stat().pages == pages + 3);
}

/// What is not flushed is lost with the daemon, and the library has it.
void calls_on_flush(const std::string& uri) {
  const auto session = open_session(uri);
  const auto reader = [&] { return session->stat().pages; };
  const std::uint64_t pages = session->pages();
  CHECK(session->grow(1) == pages);
  write_text(*session, pages * page_size, "one");
  write_text(*session, pages * page_size + 1, "two");
  CHECK(text_at(*session, pages * page_size, 4) == "otwo");
  session->flush();
  CHECK(reader() == pages + 1);
  CHECK(session->grow(1) == pages + 1);
  write_text(*session, pages * page_size, "gone");
  CHECK(session->pages() == pages + 2);
  session->discard();
  CHECK(session->pages() == pages + 1);
  write_text(*session, pages * page_size + 2, "end");
  CHECK(text_at(*session, pages * page_size, 5) == "otend");
  CHECK(session->grow(1) == pages + 1);
  session->flush();
  CHECK(text_at(*session, pages * page_size, 5) == "otend");
  CHECK(reader() == pages + 2);
}

/// All of them in flight together: some are carried out and not answered when the daemon goes. `refuses`: one of them
/// is refused, for which a flush behind it would publish nothing.
void calls_in_flight(const std::string& uri, bool refuses) {
  AsyncSession session{uri};
  std::vector<std::string> history;
  std::vector<std::vector<std::byte>> buffers(6, std::vector<std::byte>(64));
  const auto noted = [&history](const std::string& what) {
    return [&history, what](const MemoryError* error) { history.push_back(error == nullptr ? what : error->what()); };
  };
  const auto refused = [&history](const MemoryError* error) {
    history.push_back(error != nullptr && error->errc() == Errc::out_of_bounds ? "refused" : "not refused");
  };
  const auto grown = [&history](const MemoryError* error, std::uint64_t previous) {
    history.push_back(error == nullptr ? "grow " + std::to_string(previous) : error->what());
  };
  const std::uint64_t pages = session.opened().pages;
  const std::uint64_t at = pages * page_size;
  const auto a = bytes_of("aaaa"), b = bytes_of("bbbb"), c = bytes_of("cccc");
  session.grow(1, grown);
  session.write(at, a, noted("write a"));
  session.read(at, buffers[0], noted("read 0"));
  session.write(at, b, noted("write b"));
  if (refuses) session.write(at + 9 * page_size, c, refused);
  session.write(at + 2, c, noted("write c"));
  session.read(at, buffers[1], noted("read 1"));
  session.grow(2, grown);
  if (!refuses) session.flush(noted("flush"));
  session.write(at + page_size, a, noted("write d"));
  session.read(at, buffers[2], noted("read 2"));
  session.grow(1, grown);
  session.write(at, a, noted("write e"));
  if (!refuses) session.flush(noted("flush"));
  session.read(at, buffers[3], noted("read 3"));
  session.run_until([&] { return session.outstanding() == 0; });
  const auto grow = [&](std::uint64_t more) { return "grow " + std::to_string(pages + more); };
  std::vector<std::string> expected{grow(0), "write a", "read 0", "write b", "refused", "write c", "read 1", grow(1),
                                    "flush", "write d", "read 2", grow(3),   "write e", "flush",   "read 3"};
  std::erase(expected, refuses ? "flush" : "refused");
  CHECK(history == expected);
  const auto text = [&](std::size_t i) { return std::string(reinterpret_cast<const char*>(buffers[i].data()), 6); };
  CHECK(text(0) == std::string("aaaa\0\0", 6));
  CHECK(text(1) == "bbcccc");
  CHECK(text(2) == "bbcccc");
  CHECK(text(3) == "aaaacc");
  bool closed = false;
  session.close([&closed](const MemoryError* error) { closed = error == nullptr; });
  session.run_until([&] { return session.outstanding() == 0; });
  CHECK(closed);
}

bool is_serving(const MortalDaemon& daemon) {
  try {
    return open(daemon.uri("access=read")) != nullptr;
  } catch (const MemoryError&) {
    return false;
  }
}

/// `calls` as often as the daemon changes something in them, and each time it is killed one call later. `times`: and
/// then before the first call by which each that is started changes something, in its recovery as well.
void kill_everywhere(const std::string& query, const std::function<void(const std::string&)>& calls,
                     std::uint64_t times = 1) {
  MortalDaemon daemon;
  calls(daemon.uri(query));
  std::uint64_t kills = 0, rounds = 0;
  for (std::uint64_t nth = 1;; ++nth) {
    CAPTURE(query, nth);
    daemon.kill_before(nth, times);
    try {
      calls(daemon.uri(query));
    } catch (const MemoryError& error) {
      // That a first connection can't be made is told as without resume.
      INFO(error.what());
      REQUIRE(std::string(error.what()).find("hello") != std::string::npos);
    }
    daemon.let_live();
    if (daemon.kills() == 0) break;
    ++rounds;
    // The last one may go when all was done.
    wait_until([&] { return daemon.starts() == kills + daemon.kills() + 1 && is_serving(daemon); });
    kills += daemon.kills();
  }
  // Records, syncs and answers at the least.
  CHECK(rounds >= 15);
  CHECK(daemon.starts() == kills + 1);
}

}  // namespace

TEST_CASE("a daemon that is killed before any call by which it changes something changes no answer") {
  SECTION("each write is published") { kill_everywhere("resume=20", calls_on_write); }
  SECTION("a flush publishes") { kill_everywhere("resume=20&publish=on_flush", calls_on_flush); }
  SECTION("many calls in flight") {
    kill_everywhere("resume=20", [](const auto& uri) { calls_in_flight(uri, true); });
  }
  SECTION("many calls in flight with flushes") {
    kill_everywhere("resume=20", [](const auto& uri) { calls_in_flight(uri, false); });
  }
  SECTION("many calls in flight, and a flush publishes") {
    kill_everywhere("resume=20&publish=on_flush", [](const auto& uri) { calls_in_flight(uri, false); });
  }
  SECTION("and the next one in its recovery") {
    kill_everywhere("resume=20", calls_on_write, 3);
    kill_everywhere("resume=20&publish=on_flush", calls_on_flush, 2);
  }
  SECTION("a cache") { kill_everywhere("resume=20&publish=on_flush&cache_bytes=1MiB", calls_on_flush); }
}

TEST_CASE(
    "a daemon that stops in order and is started again has its writer back, and leaves the image alone after that") {
  const std::string query = GENERATE("resume=20", "resume=20&publish=on_flush");
  MortalDaemon daemon;
  const auto beside = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(daemon.file("")))
      if (const auto name = entry.path().filename().string(); name.starts_with("demo.img.")) names.push_back(name);
    return names;
  };
  {
    const auto session = open_session(daemon.uri(query));
    for (std::uint64_t round = 0; round < 3; ++round) {
      CHECK(session->grow(1) == round);
      write_text(*session, round * page_size, "kept");
      daemon.stop();
      wait_until([&] { return daemon.starts() == round + 2; });
      // Not answered before the stop, in either mode.
      write_text(*session, round * page_size + 2, "ep");
      CHECK(text_at(*session, round * page_size, 4) == "keep");
      session->flush();
    }
    CHECK(session->pages() == 3);
  }
  daemon.stop();
  wait_until([&] { return daemon.starts() == 5; });
  CHECK(beside().empty());
  const auto again = open(daemon.uri("access=read"));
  CHECK(again->pages() == 3);
  CHECK(text_at(*again, 2 * page_size, 4) == "keep");
}

TEST_CASE("a copy into a daemon that is killed and started again again and again has all of its bytes") {
  const std::string query = GENERATE("resume=20", "resume=20&publish=on_write");
  MortalDaemon daemon;
  const std::vector<std::byte> bytes = pattern(24u << 20, 7);
  const std::string file = daemon.file("from.bin");
  std::ofstream{file, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()),
                                              static_cast<std::streamsize>(bytes.size()));
  const auto copies = [&] {
    const RunResult copied = run({pagectl_path(), "copy", "--force", file, daemon.uri(query)});
    INFO(copied.err);
    REQUIRE(copied.status == 0);
    // A reader's session would be over with the daemon.
    daemon.let_live();
    wait_until([&] { return is_serving(daemon); });
    const auto image = open(daemon.uri("access=read"));
    std::vector<std::byte> found(bytes.size());
    image->read(0, found);
    CHECK((image->size() == bytes.size() && found == bytes));
  };
  daemon.kill_before(UINT64_MAX);
  copies();
  const std::uint64_t calls = daemon.calls();
  constexpr std::uint64_t rounds = 8;
  REQUIRE(calls > 3 * rounds);
  std::uint64_t kills = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    CAPTURE(query, round);
    const std::uint64_t starts = daemon.starts();
    // Behind the answer to its hello; then twice more while what it has sent comes again.
    daemon.kill_before(3 + round * calls / rounds, 3);
    copies();
    daemon.let_live();
    wait_until([&] { return daemon.starts() == starts + daemon.kills(); });
    kills += daemon.kills();
  }
  // How many calls it takes differs: the last round may be over before.
  CHECK(kills > 2 * rounds);
}

TEST_CASE("a session that has more private than is kept of it is over with the daemon, and says so") {
  MortalDaemon daemon;
  const auto session = open_session(daemon.uri("resume=20&publish=on_flush"));
  session->grow(1100);
  const std::vector<std::byte> bytes(1u << 20, std::byte{1});
  for (std::uint64_t i = 0; i < 66; ++i) session->write(i << 20, bytes);
  const std::uint64_t before = daemon.starts();
  daemon.stop();
  wait_until([&] { return daemon.starts() == before + 1; });
  try {
    session->flush();
    FAIL("it published a part");
  } catch (const MemoryError& error) {
    INFO(error.what());
    CHECK(error.errc() == Errc::connection_lost);
    CHECK(std::string(error.what()).find("67108864 bytes were not flushed") != std::string::npos);
  }
  CHECK(open(daemon.uri("access=read"))->pages() == 0);
}

TEST_CASE("a session does not go on where another writer came, the image is another, or it was no writer's") {
  MortalDaemon daemon;
  const auto restart = [&] {
    const std::uint64_t before = daemon.starts();
    daemon.kill_before(1);
    try {
      (void)open(daemon.uri("access=read"));
    } catch (const MemoryError&) {
      // Its answer to that is what it is killed before.
    }
    wait_until([&] { return daemon.starts() == before + 1; });
  };
  const auto is_lost = [](MemoryProvider& session, const std::string& why) {
    try {
      session.grow(1);
      FAIL("it went on");
    } catch (const MemoryError& error) {
      INFO(error.what());
      CHECK(error.errc() == Errc::connection_lost);
      CHECK(std::string(error.what()).find(why) != std::string::npos);
    }
  };
  SECTION("another writer") {
    const auto session = open_session(daemon.uri("resume=20"));
    session->grow(1);
    restart();
    open(daemon.uri());  // has the lease, and changes nothing
    is_lost(*session, "no session has this token");
    CHECK(open(daemon.uri("access=read"))->pages() == 1);
  }
  SECTION("another image") {
    const auto session = open_session(daemon.uri("resume=20"));
    session->grow(1);
    const std::uint64_t before = daemon.starts();
    daemon.meanwhile([&] {
      CHECK(std::filesystem::exists(daemon.file("demo.img.resume.0000000001")));
      std::filesystem::resize_file(daemon.file("demo.img"), 3 * page_size);
    });
    daemon.stop();
    wait_until([&] { return daemon.starts() == before + 1; });
    CHECK_FALSE(std::filesystem::exists(daemon.file("demo.img.resume.0000000001")));
    is_lost(*session, "no session has this token");
    CHECK(open(daemon.uri("access=read"))->pages() == 3);
  }
  SECTION("a reader and a fork") {
    for (const std::string access : {"access=read", "access=fork"}) {
      const auto session = open_session(daemon.uri("resume=20&" + access));
      CHECK(session->pages() == 0);
      restart();
      try {
        session->stat();
        FAIL("it went on");
      } catch (const MemoryError& error) {
        CHECK(error.errc() == Errc::connection_lost);
      }
    }
  }
  SECTION("a token in other hands") {
    RawClient client = RawClient::local(daemon.file("s"));
    constexpr std::uint64_t features = proto::features_all | proto::feature_resume | proto::feature_restart;
    CHECK((client.hello("raw", features).features & proto::feature_restart) != 0);
    proto::OpenRequest request;
    request.store = "demo";
    request.access = proto::Access::write;
    const auto opened = client.call(request).as<proto::OpenAnswer>();
    REQUIRE(opened.resume);
    CHECK_FALSE(opened.resume->rebuilt);
    request.resume_token = opened.resume->token;
    request.last_request_id = opened.resume->executed;
    restart();
    const auto ask = [&](const proto::OpenRequest& open_request, std::uint64_t offered) {
      RawClient again = RawClient::local(daemon.file("s"));
      again.hello("raw", offered);
      return again.call(open_request);
    };
    // Without the feature nothing is rebuilt, nor for another mode, nor by a token that is nearly the same.
    CHECK(ask(request, proto::features_all | proto::feature_resume).status() == proto::Status::token_unknown);
    proto::OpenRequest other = request;
    other.publish = proto::Publish::on_flush;
    CHECK(ask(other, features).status() == proto::Status::token_foreign);
    other = request;
    other.resume_token[15] ^= 1;
    CHECK(ask(other, features).status() == proto::Status::token_unknown);
    RawClient again = RawClient::local(daemon.file("s"));
    again.hello("raw", features);
    const auto rebuilt = again.call(request).as<proto::OpenAnswer>();
    REQUIRE(rebuilt.resume);
    CHECK(rebuilt.resume->rebuilt);
    CHECK(rebuilt.resume->executed == opened.resume->executed);
    CHECK(rebuilt.resume->token == opened.resume->token);
  }
}

}  // namespace pageserver::test
