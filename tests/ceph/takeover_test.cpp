// Daemons on one pool: whoever is killed, stands still or is only slow is followed, loses nothing that it answered, and
// changes nothing afterwards.
#include "tests/support/catch.hpp"

#include <signal.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <pageserver/open.hpp>
#include <pageserver/session.hpp>

#include "storage/file/file_system.hpp"
#include "tests/ceph/cluster.hpp"
#include "tests/ceph/commits.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/objects/home_contract.hpp"

namespace pageserver::test {
namespace {

std::unique_ptr<Daemon> serve(const std::string& path) {
  return std::make_unique<Daemon>(std::vector<std::string>{"--store", "a=" + path});
}

TEST_CASE("ceph: files in a pool keep the contract of files") {
  check_home_contract(storage::all_file_systems(), "ceph:pages" + new_home_keys());
}

TEST_CASE("ceph: an image is copied into a pool and out of it, with its holes") {
  TempDir folder;
  const std::string keys = new_home_keys();
  const std::string local = "file:" + folder.file("a.img"), back = folder.file("b.img");
  {
    const auto image = open(local);
    image->grow(2048);
    image->write(70'000, pattern(100'000, 1));
    image->write(1500 * page_size, pattern(9, 2));
    image->flush();
  }
  const auto there = run({pagectl_path(), "copy", folder.file("a.img"), home_path("c.img", keys)});
  INFO(there.err);
  REQUIRE(there.status == 0);
  const auto returned = run({pagectl_path(), "copy", home_path("c.img", keys), back});
  INFO(returned.err);
  REQUIRE(returned.status == 0);
  CHECK(run({"cmp", folder.file("a.img"), back}).status == 0);
  storage::FileStatus status;
  REQUIRE(storage::posix_file_system().status_of(back, status).ok());
  CHECK(status.allocated_bytes < (8u << 20));
  CHECK(run({pagectl_path(), "check", home_path("c.img", keys)}).status == 0);
  const auto hash = run({pagectl_path(), "hash", home_path("c.img", keys)});
  CHECK(hash.out.substr(0, 16) == run({pagectl_path(), "hash", back}).out.substr(0, 16));
}

TEST_CASE("ceph: a pool is a directory of stores, which clients make and remove") {
  TempDir folder;
  const std::string keys = new_home_keys();
  std::ofstream{folder.file("d.json")} << R"({"directory": {"path": "ceph:pages)" << keys
                                       << R"(", "create": true, "remove": true}})";
  const auto tool = [](std::vector<std::string> words) {
    words.insert(words.begin(), pagectl_path());
    const auto done = run(std::move(words));
    INFO(done.err);
    CHECK(done.status == 0);
    return done.out;
  };
  {
    Daemon daemon{{"--config", folder.file("d.json")}};
    tool({"create", daemon.tcp_uri("one"), "--pages", "64"});
    tool({"create", daemon.tcp_uri("two")});
    commit(*open(daemon.tcp_uri("one", "publish=on_flush")), 7);
    CHECK(tool({"list", daemon.server_uri()}).find("two") != std::string::npos);
    tool({"remove", daemon.tcp_uri("two")});
    const std::string left = tool({"list", daemon.server_uri()});
    CHECK(left.find("one") != std::string::npos);
    CHECK(left.find("two") == std::string::npos);
    CHECK(daemon.stop() == 0);
  }
  // The engine in a program of its own, by a URI in which the path's keys are escaped.
  std::string escaped = home_path("one.img", keys);
  for (const auto& [plain, code] : {std::pair{'?', "%3F"}, std::pair{'&', "%26"}})
    for (auto at = escaped.find(plain); at != std::string::npos; at = escaped.find(plain)) escaped.replace(at, 1, code);
  CHECK(last_commit(*open("store:" + escaped + "?access=read")) == 7);
}

TEST_CASE("ceph: a recorded workload of the engine leaves the same image in a pool and in a file") {
  TempDir folder;
  Daemon daemon{{"--store", "a=" + home_path("a.img", new_home_keys()), "--store", "b=" + folder.file("b.img")}};
  const std::string trace = PAGESERVER_ENGINE_FIXTURES "/small_crud.wdtr.zst";
  std::vector<std::string> hashes;
  for (const char* const store : {"a", "b"}) {
    const std::string uri = daemon.tcp_uri(store, "publish=on_flush&cache_bytes=64MiB");
    const auto replayed = run({pagectl_path(), "replay", trace, uri}, {}, std::chrono::seconds{120});
    INFO(replayed.err);
    REQUIRE(replayed.status == 0);
    hashes.push_back(run({pagectl_path(), "hash", daemon.tcp_uri(store, "access=read")}).out.substr(0, 16));
  }
  CHECK(hashes.front().size() == 16);
  CHECK(hashes.front() == hashes.back());
}

TEST_CASE("ceph: a second daemon is told who serves the store, and a clean stop hands it over at once") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  {
    const auto memory = open(first->tcp_uri("a", "publish=on_flush"));
    memory->grow(64);
    commit(*memory, 1);
  }
  const auto second = run({pageserverd_path(), "--listen", "127.0.0.1:0", "--store", "a=" + path});
  CHECK(second.status == 1);
  INFO(second.err);
  CHECK(second.err.find("locked by") != std::string::npos);
  CHECK(second.err.find("process " + std::to_string(first->pid())) != std::string::npos);
  CHECK(first->stop() == 0);
  const auto began = std::chrono::steady_clock::now();
  auto next = serve(path);
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds{3});
  CHECK(last_commit(*open(next->tcp_uri("a"))) == 1);
}

TEST_CASE("ceph: info says in one line where a store lies, who has it there, and how the cluster is") {
  TempDir folder;
  const std::string keys = new_home_keys(), path = home_path("a.img", keys);
  const std::string name = "ceph:pages/a.img?" + keys.substr(keys.find("namespace="));
  std::uint64_t epoch = 0;
  {
    Daemon daemon{{"--store", "a=" + path, "--store", "b=" + folder.file("b.img")}};
    const auto session = open_session(daemon.tcp_uri("a"));
    session->grow(1);
    wait_until([&] { return !session->stat().home->health.empty(); });
    const HomeStat home = *session->stat().home;
    CHECK(home.name == name);
    CHECK(home.holder.find("process " + std::to_string(daemon.pid()) + ", since") != std::string::npos);
    CHECK(home.health.rfind("HEALTH_", 0) == 0);
    CHECK(home.epoch > 0);
    epoch = home.epoch;
    const auto line = run({pagectl_path(), "info", daemon.tcp_uri("a")});
    INFO(line.out);
    CHECK(line.out.find("home        " + name + ", epoch " + std::to_string(epoch) + ", held by " + home.holder +
                        ", lag ") != std::string::npos);
    CHECK(line.out.find(", HEALTH_") != std::string::npos);
    CHECK(run({pagectl_path(), "info", daemon.tcp_uri("b")}).out.find("home        file\n") != std::string::npos);
    const auto json = nlohmann::json::parse(run({pagectl_path(), "info", daemon.tcp_uri("b"), "--json"}).out)["home"];
    CHECK(json == nlohmann::json{{"name", "file"}, {"epoch", nullptr}, {"holder", nullptr}, {"health", nullptr}});
    CHECK(daemon.stop() == 0);
  }
  Daemon next{{"--store", "a=" + path}};
  CHECK(open_session(next.tcp_uri("a", "access=read"))->stat().home->epoch > epoch);
  CHECK(next.stop() == 0);
  // Without a daemon, and without the engine.
  const auto info = run({pagectl_path(), "info", path});
  INFO(info.out + info.err);
  CHECK(info.out.find("home        " + name + ", HEALTH_") != std::string::npos);
}

TEST_CASE("ceph: a daemon that stood still while it was followed ends its sessions with lease_lost") {
  const std::string path = home_path("a.img", new_home_keys());
  auto first = serve(path);
  const auto memory = open(first->tcp_uri("a", "publish=on_flush"));
  memory->grow(64);
  commit(*memory, 1);
  const auto reader = open(first->tcp_uri("a", "access=read"));
  CHECK(last_commit(*reader) == 1);
  first->process().pause();
  auto second = serve(path);
  const auto other = open(second->tcp_uri("a", "publish=on_flush"));
  CHECK(last_commit(*other) == 1);
  commit(*other, 2);
  first->expect_complaint("store taken over");
  first->process().signal(SIGCONT);
  // Not one answer from the past: neither a read nor a commit.
  CHECK_THROWS_AS(last_commit(*reader), MemoryError);
  const auto error = thrown_by([&] { commit(*memory, 3); });
  INFO(error.what());
  CHECK(error.code() == Errc::lease_lost);
  first->wait_for_log("store taken over");
  CHECK(last_commit(*other) == 2);
  commit(*other, 4);
  CHECK(last_commit(*other) == 4);
  // It serves others on, is told who has the store, and stops in order.
  check_error(thrown_by([&] { static_cast<void>(open(first->tcp_uri("a", "access=read"))); }), Errc::busy,
              {"locked by", "process " + std::to_string(second->pid())});
  CHECK(first->stop() == 0);
  CHECK(second->stop() == 0);
}

/// Commits one number after the other until it is refused.
class Committing {
public:
  explicit Committing(std::unique_ptr<MemoryProvider> session)
      : session_{std::move(session)}, found_{last_commit(*session_)}, tried_{found_}, acknowledged_{found_} {
    thread_ = std::thread{[this] { work(); }};
  }
  Committing(const Committing&) = delete;
  Committing& operator=(const Committing&) = delete;
  ~Committing() {
    if (thread_.joinable()) thread_.join();
  }

  std::uint64_t found() const { return found_; }
  std::uint64_t acknowledged() const { return acknowledged_; }
  /// Valid once its owner can answer no more.
  std::uint64_t tried() const { return tried_; }
  bool refused() const { return refused_; }
  Errc end() {
    thread_.join();
    return error_;
  }

private:
  void work() {
    try {
      for (;;) {
        const std::uint64_t number = ++tried_;
        commit(*session_, number);
        acknowledged_ = number;
      }
    } catch (const MemoryError& error) {
      error_ = error.errc();
    }
    refused_ = true;
  }

  const std::unique_ptr<MemoryProvider> session_;
  const std::uint64_t found_;
  std::atomic<std::uint64_t> tried_, acknowledged_;
  std::atomic<bool> refused_{false};
  Errc error_{};
  std::thread thread_;
};

// Twice the lease is what a round takes. In the history of all rounds each commit that was answered is there ever
// after, one that was under way when its owner went may be, and none of an owner that was followed comes later.
TEST_CASE("ceph: take-overs under load lose nothing that was answered, and nothing follows") {
  const char* const asked = std::getenv("PAGESERVER_KILL_SEED");
  const auto seed = asked == nullptr ? std::random_device{}() : static_cast<unsigned>(std::strtoul(asked, nullptr, 10));
  std::cout << "PAGESERVER_KILL_SEED=" << seed << std::endl;
  std::mt19937 random{seed};
  const char* const rounds_asked = std::getenv("PAGESERVER_KILL_ROUNDS");
  const int rounds = rounds_asked == nullptr ? 14 : std::atoi(rounds_asked);
  const std::string path = home_path("a.img", new_home_keys());
  auto serving = serve(path);
  open(serving->tcp_uri("a"))->grow(64);
  std::uint64_t commits = 0, taken_along = 0;
  int killed = 0;
  for (int round = 0; round < rounds; ++round) {
    Committing load{open(serving->tcp_uri("a", "publish=on_flush"))};
    const std::uint64_t until = load.found() + random() % 150;
    wait_until([&] { return load.refused() || load.acknowledged() >= until; });
    REQUIRE_FALSE(load.refused());
    const bool stands_still = random() % 2 == 0;
    if (stands_still) {
      serving->process().pause();
    } else {
      serving->kill_hard();
      ++killed;
    }
    auto next = serve(path);
    const std::uint64_t answered = load.acknowledged();
    std::uint64_t found = last_commit(*open(next->tcp_uri("a", "access=read")));
    CHECK(found >= answered);
    CHECK(found <= load.tried());
    commits += answered - load.found();
    taken_along += found - answered;
    if (stands_still) {
      {
        const auto successor = open(next->tcp_uri("a", "publish=on_flush"));
        commit(*successor, ++found);
      }
      serving->expect_complaint("store taken over");
      serving->process().signal(SIGCONT);
      // An answer that it had sent before it stood still is one that counts.
      CHECK(load.end() == Errc::lease_lost);
      CHECK(load.acknowledged() < found);
      CHECK(serving->stop() == 0);
      CHECK(last_commit(*open(next->tcp_uri("a", "access=read"))) == found);
    } else {
      CHECK(load.end() == Errc::connection_lost);
      CHECK(load.acknowledged() <= found);
    }
    serving = std::move(next);
  }
  CHECK(serving->stop() == 0);
  std::cout << rounds << " take-overs, " << killed << " of killed owners: " << commits << " commits were answered, "
            << taken_along << " more were under way and are there" << std::endl;
}

TEST_CASE("ceph: a pool that is full refuses writes and serves reads, and goes on by itself once there is room") {
  // The monitor raises a ratio that is below one that should be lower.
  const auto full_at = [](const std::string& ratio) {
    for (const char* const which : {"set-nearfull-ratio", "set-backfillfull-ratio", "set-full-ratio"}) {
      const auto set =
          run({"ceph", "-c", cluster_folder() + "/ceph.conf", "osd", which, ratio}, {}, std::chrono::seconds{30});
      INFO(set.err);
      REQUIRE(set.status == 0);
    }
  };
  const std::string keys = new_home_keys();
  // Of somebody else, whatever it sounds like: to look whether there is room takes a file, too.
  TempDir folder;
  std::ofstream{folder.file("mine")} << std::string(page_size, 'm');
  const std::vector<std::string> others{"a.img.room", "a.img.probe", "a.img.spill.1"};
  for (const std::string& other : others)
    REQUIRE(run({pagectl_path(), "copy", folder.file("mine"), home_path(other, keys)}).status == 0);
  Daemon daemon{{"--store", "a=" + home_path("a.img", keys)}};
  daemon.expect_complaint("sync failed");
  std::uint64_t number = 1;
  {
    const auto memory = open(daemon.tcp_uri("a", "publish=on_flush"));
    memory->grow(64);
    commit(*memory, number);
    full_at("0.00001");
    // The OSDs hear of it some seconds later.
    std::optional<MemoryError> refused;
    wait_until([&] {
      try {
        commit(*memory, number + 1);
        ++number;
        return false;
      } catch (const MemoryError& error) {
        refused = error;
        return true;
      }
    });
    INFO(refused->what());
    // Where the flush finds out, which comes last, it says that nothing is durable.
    CHECK((refused->code() == Errc::no_space || refused->code() == Errc::provider_error));
    CHECK(last_commit(*open(daemon.tcp_uri("a", "access=read"))) >= number);
  }
  full_at("0.95");
  // Without anybody who starts it again, or opens anything else.
  daemon.wait_for_log("store opened anew");
  wait_until([&] {
    try {
      const auto memory = open(daemon.tcp_uri("a", "publish=on_flush"));
      const std::uint64_t found = last_commit(*memory);
      CHECK(found >= number);
      CHECK(found <= number + 1);
      commit(*memory, number + 2);
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  });
  CHECK(last_commit(*open(daemon.tcp_uri("a", "access=read"))) == number + 2);
  CHECK(daemon.stop() == 0);
  for (const std::string& other : others)
    CHECK(run({pagectl_path(), "diff", folder.file("mine"), home_path(other, keys)}).status == 0);
}

TEST_CASE("ceph: an OSD that stands still holds up its stores alone, and nothing is lost") {
  const std::string path = home_path("a.img", new_home_keys());
  TempDir folder;
  Daemon daemon{{"--store", "a=" + path, "--store", "b=" + folder.file("b.img")}};
  const auto beyond = open(daemon.tcp_uri("a", "publish=on_flush"));
  const auto local = open(daemon.tcp_uri("b", "publish=on_flush"));
  beyond->grow(64);
  local->grow(64);
  commit(*beyond, 1);
  pid_t osd = 0;
  std::ifstream{cluster_folder() + "/osd.0.pid"} >> osd;
  REQUIRE(osd > 0);
  REQUIRE(::kill(osd, SIGSTOP) == 0);
  struct GoOn {
    pid_t osd;
    ~GoOn() { ::kill(osd, SIGCONT); }
  } go_on{osd};
  std::thread writer{[&] { commit(*beyond, 2); }};
  for (std::uint64_t number = 1; number <= 50; ++number) commit(*local, number);
  CHECK(last_commit(*local) == 50);
  ::kill(osd, SIGCONT);
  writer.join();
  wait_until([&] {
    try {
      return last_commit(*open(daemon.tcp_uri("a", "access=read"))) == 2;
    } catch (const MemoryError&) {
      return false;  // the lease is just being renewed
    }
  });
}

}  // namespace
}  // namespace pageserver::test
