// What the daemon is made of, each part alone: who is let in, who makes way, how it stops.
#include "tests/support/catch.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/access_reload.hpp"
#include "server/admission.hpp"
#include "server/connection/buffer_relief.hpp"
#include "server/connection/connections.hpp"
#include "server/new_images.hpp"
#include "server/orderly_stop.hpp"
#include "server/runtime/later.hpp"
#include "server/stop_request.hpp"
#include "server/upkeep.hpp"
#include "storage/file/file_system.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using namespace pageserver::server;
using namespace std::chrono_literals;

/// What connections share, as the server makes it, and a front that runs on the test's own thread.
struct Daemon {
  explicit Daemon(const std::function<void(Config&)>& configure = {}) {
    if (configure) configure(config);
    catalog.emplace(config, storage::posix_file_system(), log, threads, &figures, &memory);
    context.emplace(config, log, lines, *catalog, figures, front, std::chrono::nanoseconds{}, false, 1ull,
                    std::function<void(std::uint64_t)>{}, std::function<std::shared_ptr<Connection>(std::uint64_t)>{},
                    std::function<std::vector<std::shared_ptr<const ConnectionRecord>>(std::uint64_t, std::size_t)>{},
                    std::function<std::shared_ptr<Connection>(std::uint64_t)>{}, std::function<std::size_t()>{},
                    buffers);
  }
  /// One that has not begun, and so has nobody at its other end.
  std::shared_ptr<Connection> connection(const std::shared_ptr<Peer>& peer) {
    int both[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both) == 0);
    const UniqueFd other{both[1]};
    return std::make_shared<Connection>(*context, UniqueFd{both[0]}, "unix pid 1", peer, connections.next_id());
  }

  Config config;
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  LogLines lines{log, 100};
  SharedThreads threads{1, {}, log};
  Figures figures;
  MemoryShares memory{config.limits};
  std::shared_ptr<Worker> front = std::make_shared<Worker>("front", log);
  BufferRoom buffers{memory.buffers, 100, 1 << 20, [](std::uint64_t) {}};
  ResumeTokens resume_tokens;
  std::optional<Catalog> catalog;
  std::optional<ServerContext> context;
  Connections connections;
};

}  // namespace

TEST_CASE("connections: they are found by number and listed in their order, and the last that goes is known") {
  Daemon daemon;
  Connections& connections = daemon.connections;
  const auto peer = std::make_shared<Peer>("uid 1");
  std::vector<std::shared_ptr<Connection>> made;
  for (int i = 0; i < 3; ++i) {
    made.push_back(daemon.connection(peer));
    connections.add(made.back());
  }
  CHECK(connections.count() == 3);
  CHECK(connections.find(2) == made[1]);
  CHECK(connections.find(4) == nullptr);
  const auto two = connections.records(0, 2);
  REQUIRE(two.size() == 2);
  CHECK(two[0]->connection_id() == 1);
  CHECK(two[1]->connection_id() == 2);
  const auto rest = connections.records(2, 2);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0]->connection_id() == 3);

  CHECK(connections.find_session(0) == nullptr);
  made[2]->record()->session_id.set(std::uint64_t{17});
  CHECK(connections.find_session(17) == made[2]);
  CHECK(connections.find_session(18) == nullptr);

  std::vector<std::uint64_t> ids;
  connections.for_each([&](const Connection& connection) { ids.push_back(connection.id()); });
  CHECK(ids == std::vector<std::uint64_t>{1, 2, 3});
  const auto odd = connections.those([](const Connection& connection) { return connection.id() % 2 == 1; });
  CHECK(odd == std::vector<std::shared_ptr<Connection>>{made[0], made[2]});

  CHECK_FALSE(connections.remove(1));
  CHECK_FALSE(connections.remove(1));
  CHECK_FALSE(connections.remove(2));
  CHECK(connections.remove(3));
  CHECK(connections.records(0, 10).empty());
}

TEST_CASE("buffer relief: peers with most go first, of one who stands still for longest, until an eighth is free") {
  CHECK_FALSE(BufferRelief::stands_still({0, 0}, 10'000));
  CHECK_FALSE(BufferRelief::stands_still({100, 10'000 - BufferRelief::patience_ms + 1}, 10'000));
  CHECK(BufferRelief::stands_still({100, 10'000 - BufferRelief::patience_ms}, 10'000));
  const std::vector<BufferRelief::Candidate> all{
      {500, {40, 3}, 1}, {900, {60, 2}, 2}, {900, {30, 1}, 3}, {10, {40, 0}, 4}};
  const auto ids = [&](std::uint64_t bytes_max) {
    std::vector<std::uint64_t> found;
    for (const auto& one : BufferRelief::chosen(all, bytes_max)) found.push_back(one.connection_id);
    return found;
  };
  CHECK(ids(8 * 30) == std::vector<std::uint64_t>{3});
  CHECK(ids(8 * 31) == std::vector<std::uint64_t>{3, 2});
  CHECK(ids(8 * 91) == std::vector<std::uint64_t>{3, 2, 1});
  CHECK(ids(8 * 1000) == std::vector<std::uint64_t>{3, 2, 1, 4});
  CHECK(BufferRelief::chosen({}, 800).empty());
}

TEST_CASE("buffer relief: of many threads at once one looks, and not again before the interval is over") {
  BufferRelief relief;
  std::atomic<int> due{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        if (relief.is_due(10'000)) ++due;
      });
  }
  CHECK(due == 1);
  CHECK_FALSE(relief.is_due(10'000 + BufferRelief::interval_ms - 1));
  CHECK(relief.is_due(10'000 + BufferRelief::interval_ms));
}

TEST_CASE("later: one thing waits at a time, what is cancelled is not done, and it may begin the next one itself") {
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  Worker worker{"worker", log};
  std::vector<int> done;
  {
    Later later{worker};
    Later cancelled{worker};
    CHECK_FALSE(later.waits());
    cancelled.begin(0ms, [&] { done.push_back(0); });
    CHECK(cancelled.waits());
    cancelled.cancel();
    CHECK_FALSE(cancelled.waits());
    later.begin(0ms, [&] {
      done.push_back(1);
      CHECK_FALSE(later.waits());
      later.begin(1ms, [&] {
        done.push_back(2);
        worker.stop();
      });
    });
    later.begin(0ms, [&] { done.push_back(3); });
    CHECK(later.waits());
    worker.run();
    later.begin(1h, [&] { done.push_back(4); });
  }
  CHECK(done == std::vector<int>{1, 2});
}

TEST_CASE("stop request: one signal is the first, what comes after the end finds the end, and who leaves hears none") {
  using Heard = StopRequest::Heard;
  StopRequest request;
  std::vector<Heard> heard;
  const auto note = [&](Heard what) { heard.push_back(what); };
  CHECK_FALSE(request.asked());
  request.hear(15, note);
  request.hear(2, note);
  CHECK(request.asked());
  CHECK(request.number() == 15);
  CHECK_FALSE(request.ended());
  bool said_before = true;
  request.end([&] { said_before = request.ended(); });
  CHECK_FALSE(said_before);
  request.hear(2, note);
  CHECK(heard == std::vector<Heard>{Heard::first, Heard::again, Heard::ended});
  StopRequest other;
  other.leave();
  other.hear(15, note);
  CHECK(heard.back() == Heard::again);
  CHECK(other.number() == 0);
}

TEST_CASE("new images: what a start made is removed, what was there or has something in it stays") {
  const TempDir dir;
  Config config;
  for (const char* const name : {"there", "made", "written", "closed"})
    config.stores.push_back({"", name, dir.file(std::string(name) + ".img"), false, true, {}, {}});
  std::ofstream{dir.file("there.img")}.close();
  NewImages images{config, storage::posix_file_system()};
  images.note_missing();
  Log log{LogFormat::text, static_cast<LogLevel>(100)};
  SharedThreads threads{1, {}, log};
  Catalog catalog{config, storage::posix_file_system(), log, threads};
  catalog.start();
  storage::SessionRequest request;
  std::unique_ptr<storage::StoreSession> session;
  catalog.find("written")->host().opened().open_session(
      std::move(request),
      [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr) { session = std::move(opened); });
  REQUIRE(session);
  session->grow(1);
  session.reset();
  catalog.find("closed")->host().close();
  images.remove(catalog, log);
  CHECK(std::filesystem::exists(dir.file("there.img")));
  CHECK_FALSE(std::filesystem::exists(dir.file("made.img")));
  CHECK(std::filesystem::file_size(dir.file("written.img")) == page_size);
  CHECK(std::filesystem::exists(dir.file("closed.img")));
}

TEST_CASE("upkeep: it goes on by itself once it has begun, so that an idle lease is found, whatever memory is used") {
  const TempDir dir;
  Daemon daemon{[&](Config& config) {
    config.stores.push_back({"", "a", dir.file("a.img"), false, true, {}, {}});
    config.limits.lease_idle_max = 40ms;  // looked for every 10 ms
  }};
  daemon.catalog->start();
  storage::SessionRequest request;
  request.opened_ms = base::monotonic_ms();
  std::unique_ptr<storage::StoreSession> session;
  daemon.catalog->find("a")->host().opened().open_session(
      std::move(request),
      [&](std::unique_ptr<storage::StoreSession> opened, std::exception_ptr) { session = std::move(opened); });
  REQUIRE(session);
  const std::uint64_t much = daemon.memory.bytes / 4;
  daemon.memory.buffers.add(much);
  Upkeep upkeep{*daemon.front, *daemon.catalog, daemon.lines, daemon.memory};
  upkeep.begin();
  upkeep.begin();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  Later look{*daemon.front};
  std::function<void()> until_found = [&] {
    if (daemon.figures.leases_idle != 0 || std::chrono::steady_clock::now() >= deadline) return daemon.front->stop();
    look.begin(5ms, until_found);
  };
  look.begin(5ms, until_found);
  daemon.front->run();
  upkeep.end();
  daemon.memory.buffers.give_back(much);
  CHECK(daemon.figures.leases_idle == 1);
}

TEST_CASE("admission: known connections fill a limit, and who comes then is told why, or just closed") {
  Daemon daemon{[](Config& config) {
    config.limits.connections = 2;
    config.limits.peer_percent = 100;
  }};
  daemon.catalog->start();
  Admission admission{daemon.config, daemon.log, *daemon.catalog, daemon.connections, daemon.resume_tokens, [] {}};
  admission.budget_open_files(8);
  CHECK(admission.budget_strangers(daemon.memory, false) ==
        "limits.strangers=" + std::to_string(daemon.config.limits.strangers));
  const auto peer = admission.peer("uid 1");
  CHECK(admission.peer("uid 1") == peer);
  std::vector<std::shared_ptr<Connection>> all;
  const auto comes = [&] {
    const std::uint64_t before = Admission::connections_of(*peer);
    all.push_back(daemon.connection(peer));
    Admission::Verdict verdict = admission.judge(*peer, before);
    if (!verdict.is_dropped) admission.enter(all.back(), peer);
    return verdict;
  };
  for (int i = 0; i < 2; ++i) {
    const auto verdict = comes();
    CHECK_FALSE(verdict.is_dropped);
    CHECK_FALSE(verdict.refusal);
    CHECK(daemon.connections.find(all.back()->id()) == all.back());
    admission.strangers().remove(all.back()->id());  // its hello was taken
  }
  const auto refused = comes();
  CHECK_FALSE(refused.is_dropped);
  REQUIRE(refused.refusal);
  CHECK(refused.refusal->status == proto::Status::limit_exceeded);
  CHECK(refused.refusal->message.find("2 connections are open, limits.connections=2") != std::string::npos);
  admission.strangers().remove(all.back()->id());
  // As many are told why at a time as there are descriptors kept for that.
  bool dropped = false;
  for (int i = 0; i < 65 && !dropped; ++i) dropped = comes().is_dropped;
  CHECK(dropped);
}

TEST_CASE("admission: one peer has its share of the connections, and others come in beside it") {
  Daemon daemon{[](Config& config) {
    config.limits.connections = 4;
    config.limits.peer_percent = 50;
  }};
  daemon.catalog->start();
  Admission admission{daemon.config, daemon.log, *daemon.catalog, daemon.connections, daemon.resume_tokens, [] {}};
  admission.budget_open_files(8);
  static_cast<void>(admission.budget_strangers(daemon.memory, false));
  const auto comes = [&](const std::shared_ptr<Peer>& peer) {
    const std::uint64_t before = Admission::connections_of(*peer);
    const auto connection = daemon.connection(peer);
    const auto verdict = admission.judge(*peer, before);
    admission.enter(connection, peer);
    admission.strangers().remove(connection->id());
    return verdict.refusal ? verdict.refusal->message : std::string{};
  };
  const auto one = admission.peer("uid 1"), other = admission.peer("uid 2");
  CHECK(comes(one).empty());
  CHECK(comes(one).empty());
  CHECK(comes(one).find("2 connections of uid 1 are open, limits.peer_percent=50") != std::string::npos);
  CHECK(comes(other).empty());
}

TEST_CASE("admission: a stranger goes for a newcomer, and more wait while too many still go") {
  Daemon daemon{[](Config& config) {
    config.limits.strangers = 2;
    config.limits.peer_percent = 100;
  }};
  daemon.catalog->start();
  int fewer = 0;
  Admission admission{daemon.config,      daemon.log,           *daemon.catalog,
                      daemon.connections, daemon.resume_tokens, [&] { ++fewer; }};
  admission.budget_open_files(8);
  static_cast<void>(admission.budget_strangers(daemon.memory, false));
  CHECK(admission.strangers_max() == 2);
  const auto peer = admission.peer("uid 1");
  // A number of which no connection is left: it is taken off the list.
  for (std::uint64_t id = 1; id <= 2; ++id) admission.strangers().add(id, peer);
  CHECK_FALSE(admission.judge(*peer, 2).refusal);
  CHECK(admission.strangers().counts().staying == 1);
  CHECK(admission.strangers().counts().going == 0);
  CHECK(admission.may_go_on(true));
  CHECK(fewer == 0);
}

TEST_CASE("access reload: rules that are wrong end a start, and later leave what was there, and say so") {
  const TempDir dir;
  const std::string file = dir.file("pageserverd.json");
  const auto write = [&](const std::string& text) { std::ofstream{file} << text; };
  const std::string good = R"({"rules": [{"who": "anyone", "stores": "*", "may": ["read"]}]})";
  Daemon daemon;
  daemon.config.file = file;
  daemon.config.access.rules.emplace();
  std::atomic<bool> stopping{false};
  write("{");
  {
    AccessReload access{daemon.config,       daemon.log,    daemon.figures, daemon.connections,
                        daemon.threads.disk, *daemon.front, stopping};
    CHECK_THROWS_AS(access.load(), std::runtime_error);
    CHECK(access.policy().get() == nullptr);
  }
  write(good);
  std::optional<AccessReload> access;
  access.emplace(daemon.config, daemon.log, daemon.figures, daemon.connections, daemon.threads.disk, *daemon.front,
                 stopping);
  access->load();
  const auto first = access->policy().get();
  CHECK(first != nullptr);
  CHECK(access->tls().get() == nullptr);
  access->begin();
  access->end();
  access->look(true);
  wait_until([&] { return daemon.figures.rules_taken == 1; });
  CHECK(access->policy().get() != first);
  const auto second = access->policy().get();
  write("{");
  access->look(false);
  wait_until([&] { return daemon.figures.rules_failed == 1; });
  CHECK(daemon.figures.rules_not_taken);
  CHECK(access->policy().get() == second);
  stopping = true;
  write(good);
  access->look(true);
  access.reset();  // what was submitted has been done
  CHECK(daemon.figures.rules_taken == 1);
}

TEST_CASE("orderly stop: doors first, then the stores, and its status says whether all of them could be closed") {
  const TempDir dir;
  Daemon daemon{[&](Config& config) { config.stores.push_back({"", "a", dir.file("a.img"), false, true, {}, {}}); }};
  daemon.catalog->start();
  std::vector<std::string> steps;
  OrderlyStop stop{10s,
                   daemon.log,
                   *daemon.front,
                   *daemon.catalog,
                   daemon.connections,
                   daemon.context->stopping,
                   {[&] { steps.emplace_back("begun"); }, [&] { steps.emplace_back("doors"); },
                    [&] {
                      steps.emplace_back("over");
                      daemon.front->stop();
                    },
                    [&](std::string_view why) { FAIL(why); }}};
  stop.go_on();
  CHECK(steps.empty());
  daemon.front->post([&] {
    stop.begin("a test");
    stop.begin("once more");
    stop.go_on();
  });
  daemon.front->run();
  CHECK(steps == std::vector<std::string>{"begun", "doors", "doors", "over"});
  CHECK(stop.status() == 0);
  CHECK_FALSE(daemon.catalog->find("a")->host().is_open());
}

TEST_CASE("orderly stop: connections that do not end are cut off half-way, and at the end it is given up") {
  Daemon daemon;
  daemon.catalog->start();
  // It has never begun, so that nothing ends it.
  daemon.connections.add(daemon.connection(std::make_shared<Peer>("uid 1")));
  std::string why;
  OrderlyStop stop{20ms,
                   daemon.log,
                   *daemon.front,
                   *daemon.catalog,
                   daemon.connections,
                   daemon.context->stopping,
                   {[] {}, [] {}, [] { FAIL("not in order"); },
                    [&](std::string_view said) {
                      why = said;
                      daemon.front->stop();
                    }}};
  daemon.front->post([&] { stop.begin("a test"); });
  daemon.front->run();
  CHECK(why.find("the grace period is over") == 0);
}

TEST_CASE("orderly stop: the last connection that ends begins the close") {
  Daemon daemon;
  daemon.catalog->start();
  const auto connection = daemon.connection(std::make_shared<Peer>("uid 1"));
  daemon.connections.add(connection);
  bool over = false;
  OrderlyStop stop{1h,
                   daemon.log,
                   *daemon.front,
                   *daemon.catalog,
                   daemon.connections,
                   daemon.context->stopping,
                   {[] {}, [] {},
                    [&] {
                      over = true;
                      daemon.front->stop();
                    },
                    [&](std::string_view why) { FAIL(why); }}};
  daemon.front->post([&] {
    stop.begin("a test");
    CHECK_FALSE(over);
    if (daemon.connections.remove(connection->id())) stop.none_left();
  });
  daemon.front->run();
  CHECK(over);
}

}  // namespace pageserver::test
