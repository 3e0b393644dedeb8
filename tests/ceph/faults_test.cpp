// A cluster of three OSDs of which parts die, stand still, or can't be reached: nothing that was answered is lost,
// stores in files go on, and what waits ends in time.
#include "tests/support/catch.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <pageserver/open.hpp>
#include <pageserver/session.hpp>

#include "tests/ceph/cluster.hpp"
#include "tests/ceph/commits.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int osds = 3;

/// A process of the cluster, `mon` or `osd.N`.
pid_t process_of(const std::string& name, const std::string& cluster = cluster_folder()) {
  pid_t pid = 0;
  std::ifstream{cluster + "/" + name + ".pid"} >> pid;
  REQUIRE(pid > 0);
  return pid;
}

/// Stands still for as long as this lives, or until it is woken.
class StandsStill {
public:
  explicit StandsStill(const std::string& name) : pid_{process_of(name)} { REQUIRE(::kill(pid_, SIGSTOP) == 0); }
  StandsStill(const StandsStill&) = delete;
  StandsStill& operator=(const StandsStill&) = delete;
  ~StandsStill() { wake(); }
  void wake() noexcept { ::kill(pid_, SIGCONT); }

private:
  const pid_t pid_;
};

/// All of the cluster's.
std::vector<std::unique_ptr<StandsStill>> still_osds() {
  std::vector<std::unique_ptr<StandsStill>> still;
  for (int i = 0; i < osds; ++i) still.push_back(std::make_unique<StandsStill>("osd." + std::to_string(i)));
  return still;
}

/// What a call is refused with, and when that was; nothing where it is answered.
struct Refusal {
  std::optional<Errc> error;
  Clock::time_point at;
};
template <class Call>
std::future<Refusal> refusal_of(Call call) {
  return std::async(std::launch::async, [call = std::move(call)] {
    Refusal refusal;
    try {
      call();
    } catch (const MemoryError& error) {
      refusal.error = error.errc();
    }
    refusal.at = Clock::now();
    return refusal;
  });
}

void wait_for_osds(int count, const std::string& cluster = cluster_folder()) {
  wait_until([&] {
    const auto stat = run({"ceph", "-c", cluster + "/ceph.conf", "--connect-timeout", "5", "osd", "stat"});
    return stat.out.find(" " + std::to_string(count) + " up") != std::string::npos;
  });
}

/// Commits one number after the other, whatever becomes of its sessions; what was answered must be found each time.
class Load {
public:
  explicit Load(std::string uri) : uri_{std::move(uri)}, thread_{[this] { work(); }} {}
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() { stop(); }

  std::uint64_t acknowledged() const { return acknowledged_; }
  bool lost() const { return lost_; }
  void wait_for_more(std::uint64_t count) {
    const std::uint64_t from = acknowledged_;
    wait_until([&] { return lost_ || acknowledged_ >= from + count; });
    CHECK_FALSE(lost_);
  }
  void stop() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }

private:
  // Assertions are not for other threads.
  void work() {
    while (!ended_ && !lost_) {
      try {
        const auto session = open(uri_);
        std::uint64_t number = 0;
        const bool whole = read_commit(*session, number);
        if (!whole || number < acknowledged_) lost_ = true;
        while (!ended_ && !lost_) {
          commit(*session, ++number);
          acknowledged_ = number;
        }
      } catch (const MemoryError&) {
        std::this_thread::yield();
      }
    }
  }

  const std::string uri_;
  std::atomic<std::uint64_t> acknowledged_{0};
  std::atomic<bool> lost_{false};
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

/// A daemon with a store in the pool and one in a file.
struct Served {
  explicit Served(const std::string& at = home_path("a.img", new_home_keys()))
      : path{at}, daemon{{"--store", "a=" + path, "--store", "b=" + folder.file("b.img")}} {
    for (const char* const store : {"a", "b"})
      if (const auto session = open(daemon.tcp_uri(store)); session->pages() == 0) session->grow(64);
  }
  void commit_to_file(std::uint64_t count) {
    const auto local = open(daemon.tcp_uri("b", "publish=on_flush"));
    const std::uint64_t last = last_commit(*local);
    for (std::uint64_t number = last + 1; number <= last + count; ++number) commit(*local, number);
    CHECK(last_commit(*local) == last + count);
  }
  /// What the next owner finds, after a kill.
  std::uint64_t found_after_kill() {
    daemon.kill_hard();
    Daemon next{{"--store", "a=" + path}};
    const std::uint64_t found = last_commit(*open(next.tcp_uri("a", "access=read")));
    CHECK(next.stop() == 0);
    return found;
  }

  TempDir folder;
  const std::string path;
  Daemon daemon;
};

TEST_CASE("faults: an OSD is killed and comes back empty while commits go on") {
  Served served;
  Load load{served.daemon.tcp_uri("a", "publish=on_flush")};
  load.wait_for_more(20);
  const pid_t osd = process_of("osd.1");
  const auto began = Clock::now();
  REQUIRE(::kill(osd, SIGKILL) == 0);
  load.wait_for_more(20);
  std::cout << "20 commits after an OSD was killed: "
            << std::chrono::duration_cast<milliseconds>(Clock::now() - began).count() << " ms" << std::endl;
  served.commit_to_file(20);
  const auto again = run({CEPH_CLUSTER_SCRIPT, "start-osd", cluster_folder(), "1"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  wait_for_osds(osds);
  load.wait_for_more(20);
  load.stop();
  CHECK(served.found_after_kill() >= load.acknowledged());
}

TEST_CASE("faults: an OSD stands still until the others do without it, and wakes again") {
  Served served;
  Load load{served.daemon.tcp_uri("a", "publish=on_flush")};
  load.wait_for_more(20);
  {
    const StandsStill osd{"osd.2"};
    served.commit_to_file(50);
    wait_for_osds(osds - 1);
    load.wait_for_more(20);
  }
  wait_for_osds(osds);
  load.wait_for_more(20);
  load.stop();
  CHECK(served.found_after_kill() >= load.acknowledged());
}

TEST_CASE("faults: while the monitor stands still everything that is open goes on, and what is not open says so") {
  Served served;
  Load load{served.daemon.tcp_uri("a", "publish=on_flush")};
  load.wait_for_more(20);
  {
    const StandsStill monitor{"mon"};
    Process refused{{pageserverd_path(), "--listen", "127.0.0.1:0", "--store", "a=" + served.path}};
    load.wait_for_more(100);
    served.commit_to_file(20);
    wait_until([&] {
      const auto info = run({pagectl_path(), "info", served.daemon.tcp_uri("a"), "--json"});
      const auto home = nlohmann::json::parse(info.out)["home"];
      return home["health"].is_string() &&
             home["health"].get<std::string>().find("no monitor has answered") != std::string::npos;
    });
    CHECK(refused.wait() == 1);
    CHECK(refused.err_so_far().find("no monitor answered in time") != std::string::npos);
  }
  load.wait_for_more(20);
  load.stop();
  CHECK(served.daemon.stop() == 0);
}

TEST_CASE("faults: while all OSDs stand still requests end with timed_out, and a store in a file goes on") {
  Served served;
  const auto writer = open(served.daemon.tcp_uri("a", "publish=on_flush"));
  commit(*writer, 1);
  const auto reader = open(served.daemon.tcp_uri("a", "access=read"));
  CHECK(last_commit(*reader) == 1);
  auto still = still_osds();
  auto second = refusal_of([&] { commit(*writer, 2); });
  const auto began = Clock::now();
  std::optional<MemoryError> refused;
  wait_until([&] {
    try {
      static_cast<void>(reader->pages());  // for as long as the lease lasts; no OSD is asked for that
      return false;
    } catch (const MemoryError& error) {
      refused = error;
      return true;
    }
  });
  INFO(refused->what());
  CHECK(refused->code() == Errc::timed_out);
  // Two thirds of the lease, and home_timeout.
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - began);
  std::cout << "timed_out after " << took.count() << " ms without an OSD" << std::endl;
  CHECK(took < seconds{15});
  served.commit_to_file(20);
  CHECK(second.get().error == Errc::timed_out);
  still.clear();
  wait_for_osds(osds);
  // In its order, and by itself.
  wait_until([&] {
    try {
      const std::uint64_t found = last_commit(*open(served.daemon.tcp_uri("a", "access=read")));
      CHECK((found == 1 || found == 2));
      return found == 2;
    } catch (const MemoryError&) {
      return false;
    }
  });
  CHECK(served.daemon.stop() == 0);
}

TEST_CASE("faults: what is on its way to OSDs that stand still is answered in time, and takes effect once they wake") {
  TempDir folder;
  const std::string keys = new_home_keys();
  const auto home = [&](const std::string& name) { return name + "=" + home_path(name + ".img", keys); };
  {
    Daemon before{{"--store", home("cold")}};
    const auto session = open(before.tcp_uri("cold"));
    session->grow(64);
    commit(*session, 7);
    CHECK(before.stop() == 0);
  }
  // Less than the lease needs to run out: nobody could say by that that the cluster does not answer.
  std::ofstream{folder.file("config.json")} << R"({"home_timeout": "1s"})";
  Daemon daemon{{"--config", folder.file("config.json"), "--store", home("flushed"), "--store", home("written"),
                 "--store", home("cold"), "--store", "file=" + folder.file("file.img")}};
  for (const char* const store : {"flushed", "written", "file"}) open(daemon.tcp_uri(store))->grow(64);
  const auto flushing = open(daemon.tcp_uri("flushed", "publish=on_flush"));
  commit(*flushing, 1);
  const auto writing = open(daemon.tcp_uri("written", "publish=on_write"));
  commit(*writing, 1);
  const auto reading = open(daemon.tcp_uri("cold", "access=read"));
  const auto local = open(daemon.tcp_uri("file", "publish=on_flush"));

  auto still = still_osds();
  const auto began = Clock::now();
  auto flushed = refusal_of([&] { commit(*flushing, 2); });
  // Small ones, of which librados by itself takes 1024 before it lets all callers wait.
  std::atomic<int> writes{0};
  std::atomic<bool> written_ended{false};
  auto written = refusal_of([&] {
    const struct Ended {
      std::atomic<bool>& ended;
      ~Ended() { ended = true; }
    } ended{written_ended};
    const std::vector<std::byte> bytes(8, std::byte{2});
    for (;; ++writes) writing->write(static_cast<std::uint64_t>(writes % 16) * 4096, bytes);
  });
  auto read = refusal_of([&] {
    while (!written_ended && writes < 1500) std::this_thread::yield();
    static_cast<void>(last_commit(*reading));
  });
  for (std::uint64_t number = 1; number <= 20; ++number) commit(*local, number);
  CHECK(last_commit(*local) == 20);
  std::cout << writes << " small writes were handed over" << std::endl;
  for (auto* const one : {&flushed, &read, &written}) {
    const Refusal refusal = one->get();
    const auto took = std::chrono::duration_cast<milliseconds>(refusal.at - began);
    std::cout << "a "
              << (one == &flushed ? "flush"
                  : one == &read  ? "read"
                                  : "write")
              << " that was on its way was answered after " << took.count() << " ms" << std::endl;
    CHECK(refusal.error == Errc::timed_out);
    CHECK(took < seconds{10});
  }
  // For its client such a session is over.
  CHECK(thrown_by([&] { flushing->flush(); }).code() == Errc::timed_out);
  still.clear();
  wait_for_osds(osds);
  const auto eventually = [&](const std::string& store, const auto& holds) {
    wait_until([&] {
      try {
        const auto session = open(daemon.tcp_uri(store, "access=read"));
        return holds(*session);
      } catch (const MemoryError&) {
        return false;
      }
    });
  };
  // It was in the log's order all the time.
  eventually("flushed", [](MemoryProvider& memory) { return last_commit(memory) == 2; });
  eventually("cold", [](MemoryProvider& memory) { return last_commit(memory) == 7; });
  eventually("written", [](MemoryProvider& memory) {
    std::byte first{};
    memory.read(0, std::span{&first, 1});
    return first == std::byte{2};
  });
  for (const char* const store : {"flushed", "written"}) {
    wait_until([&] {
      try {
        commit(*open(daemon.tcp_uri(store, "publish=on_flush")), 3);
        return true;
      } catch (const MemoryError&) {
        return false;
      }
    });
    eventually(store, [](MemoryProvider& memory) { return last_commit(memory) == 3; });
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("faults: a daemon whose OSDs stand still ends at a second signal") {
  auto served = std::make_unique<Served>();
  const auto writer = open(served->daemon.tcp_uri("a", "publish=on_flush"));
  commit(*writer, 1);
  auto still = still_osds();
  auto flushed = refusal_of([&] { commit(*writer, 2); });
  served->daemon.expect_complaint("");
  served->daemon.process().signal(SIGTERM);
  served->daemon.wait_for_log("stopping");
  CHECK(served->daemon.process().running());
  served->daemon.process().signal(SIGTERM);
  const auto began = Clock::now();
  served->daemon.process().wait();
  CHECK(Clock::now() - began < seconds{5});
  CHECK(flushed.get().error);
  still.clear();
  wait_for_osds(osds);
  Daemon next{{"--store", "a=" + served->path}};
  const std::uint64_t found = last_commit(*open(next.tcp_uri("a", "access=read")));
  CHECK((found == 1 || found == 2));
  CHECK(next.stop() == 0);
}

TEST_CASE("faults: while all OSDs stand still, requests about a directory, openings and takeovers are timed out") {
  TempDir folder;
  const std::string keys = new_home_keys();
  std::ofstream{folder.file("d.json")} << R"({"home_timeout": "1s", "directory": {"path": "ceph:pages)" << keys
                                       << R"(", "create": true, "remove": true}})";
  Daemon daemon{{"--config", folder.file("d.json"), "--store", "here=" + folder.file("here.img")}};
  const auto tool = [&](const std::string& word, const std::string& uri) { return run({pagectl_path(), word, uri}); };
  for (const char* const store : {"one", "two"}) REQUIRE(tool("create", daemon.tcp_uri(store)).status == 0);
  open(daemon.tcp_uri("here"))->grow(1);
  auto still = still_osds();
  std::vector<std::future<std::string>> asked;
  const auto ask = [&](std::string word, std::string uri) {
    asked.push_back(std::async(std::launch::async, [&, word = std::move(word), uri = std::move(uri)] {
      const auto began = Clock::now();
      const auto said = tool(word, uri);
      const bool is_late = said.status == 75 && said.err.find("home_timeout") != std::string::npos;
      if (is_late && Clock::now() - began < seconds{25}) return std::string{};
      return word + ": status " + std::to_string(said.status) + ", " + said.err;
    }));
  };
  ask("list", daemon.server_uri());
  ask("create", daemon.tcp_uri("three"));
  ask("remove", daemon.tcp_uri("two"));
  ask("info", daemon.tcp_uri("one"));  // an opening
  ask("takeover", daemon.tcp_uri("one"));
  for (auto& one : asked) CHECK(one.get() == "");
  CHECK(open(daemon.tcp_uri("here"))->pages() == 1);  // waits for none of them
  still.clear();
  wait_for_osds(osds);
  // What was on its way is done, or nobody waited for it any more; whoever asks now is answered.
  wait_until([&] {
    const auto listed = tool("list", daemon.server_uri());
    return listed.status == 0 && listed.out.find("one") != std::string::npos;
  });
  wait_until([&] { return tool("info", daemon.tcp_uri("one")).status == 0; });
  wait_until([&] { return tool("create", daemon.tcp_uri("four")).status == 0; });
  CHECK(tool("remove", daemon.tcp_uri("four")).status == 0);
  CHECK(daemon.stop() == 0);
}

/// A cluster beside that of the other cases.
struct OwnCluster {
  OwnCluster(const std::string& at, std::vector<std::string> settings) : folder{at} {
    settings.insert(settings.begin(), "env");
    settings.insert(settings.end(), {CEPH_CLUSTER_SCRIPT, "start", folder});
    const auto begun = run(std::move(settings), {}, std::chrono::seconds{120});
    INFO(begun.err);
    REQUIRE(begun.status == 0);
  }
  OwnCluster(const OwnCluster&) = delete;
  OwnCluster& operator=(const OwnCluster&) = delete;
  ~OwnCluster() { run({CEPH_CLUSTER_SCRIPT, "stop", folder}, {}, std::chrono::seconds{120}); }

  const std::string folder;
};

// What an OSD had not brought to its files is gone with it, and what the daemon had not handed over, too.
TEST_CASE("faults: all OSDs that keep files die at once, and with them the daemon: what was answered is there") {
  TempDir folder;
  const OwnCluster cluster{folder.file("cluster"), {"OSDS=3", "STORE=bluestore", "OSD_BYTES=2147483648"}};
  const std::string path = "ceph:pages/a.img?conf=" + cluster.folder + "/ceph.conf&id=pages";
  auto served = std::make_unique<Served>(path);
  std::uint64_t answered = 0;
  for (const bool with_daemon : {false, true, true}) {
    Load load{served->daemon.tcp_uri("a", "publish=on_flush")};
    load.wait_for_more(answered + 50);  // it counts from 0
    const auto began = Clock::now();
    for (int i = 0; i < osds; ++i)
      REQUIRE(::kill(process_of("osd." + std::to_string(i), cluster.folder), SIGKILL) == 0);
    if (with_daemon) {
      served->daemon.kill_hard();
      load.stop();
    }
    for (int i = 0; i < osds; ++i) {
      const auto again = run({CEPH_CLUSTER_SCRIPT, "start-osd", cluster.folder, std::to_string(i)});
      INFO(again.err);
      REQUIRE(again.status == 0);
    }
    if (!with_daemon) load.wait_for_more(50);
    load.stop();
    CHECK_FALSE(load.lost());
    answered = load.acknowledged();
    std::optional<std::uint64_t> found;
    if (with_daemon) {
      // It answers once the OSDs do, which takes longer than a daemon may.
      wait_until([&] {
        return run({"timeout", "5", "rados", "-c", cluster.folder + "/ceph.conf", "-p", "pages", "stat",
                    "pageserver.names"})
                   .status == 0;
      });
      served = std::make_unique<Served>(path);
    }
    wait_until([&] {
      try {
        found = last_commit(*open(served->daemon.tcp_uri("a", "access=read")));
        return true;
      } catch (const MemoryError&) {
        return false;
      }
    });
    std::cout << "all OSDs died" << (with_daemon ? " with the daemon" : "") << ": commit " << answered
              << " was answered, " << *found << " is there after "
              << std::chrono::duration_cast<milliseconds>(Clock::now() - began).count() << " ms" << std::endl;
    CHECK(*found >= answered);
    CHECK(*found <= answered + 1);
  }
  CHECK(served->daemon.stop() == 0);
}

/// A host of its own, with one link to where the cluster listens, which HOST= in the environment says.
class FarHost {
public:
  explicit FarHost(const std::string& cluster) {
    const std::string beyond = cluster.substr(0, cluster.rfind('.')) + ".2/30";
    works_ = ip({"link", "add", here(), "type", "veth", "peer", "name", "far0"}) && ip({"netns", "add", name()}) &&
             ip({"link", "set", "far0", "netns", name()}) && ip({"addr", "add", cluster + "/30", "dev", here()}) &&
             ip({"-n", name(), "addr", "add", beyond, "dev", "far0"}) && ip({"link", "set", here(), "up"}) &&
             ip({"-n", name(), "link", "set", "far0", "up"}) && ip({"-n", name(), "link", "set", "lo", "up"});
  }
  FarHost(const FarHost&) = delete;
  FarHost& operator=(const FarHost&) = delete;
  ~FarHost() {
    ip({"link", "del", here()});
    ip({"netns", "del", name()});
  }
  bool works() const { return works_; }
  bool cut(bool is_cut) { return ip({"-n", name(), "link", "set", "far0", is_cut ? "down" : "up"}); }
  std::string name() const { return "pageserver-f" + id_; }

private:
  std::string here() const { return "psf" + id_; }
  static bool ip(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "ip");
    return run(std::move(arguments)).status == 0;
  }
  const std::string id_ = std::to_string(::getpid());
  bool works_ = false;
};

TEST_CASE("faults: an owner that is cut off answers nothing from the past, changes nothing, and hears of it") {
  if (::geteuid() != 0) {
    skip("needs root and network namespaces (ip netns)");
    return;
  }
  // The range that RFC 5737 keeps for documentation.
  const std::string address = "203.0.113.1";
  FarHost host{address};
  if (!host.works()) {
    skip("needs root and network namespaces (ip netns)");
    return;
  }
  // It listens where the far host gets.
  TempDir folder;
  const OwnCluster cluster{folder.file("cluster"), {"OSDS=1", "HOST=" + address}};
  const std::string path = "ceph:pages/a.img?conf=" + cluster.folder + "/ceph.conf&id=pages";
  Process owner{{"ip", "netns", "exec", host.name(), pageserverd_path(), "--listen", "127.0.0.1:0", "--unix",
                 folder.file("d.sock"), "--port-file", folder.file("port"), "--store", "a=" + path}};
  owner.wait_for_err("INFO start");
  const std::string far = "pageserver+unix:///a?socket=" + folder.file("d.sock");
  open(far)->grow(64);
  const auto writer = open(far + "&publish=on_flush");
  commit(*writer, 1);
  const auto reader = open(far + "&access=read");
  CHECK(last_commit(*reader) == 1);

  REQUIRE(host.cut(true));
  const auto began = Clock::now();
  Daemon next{{"--store", "a=" + path}};
  const auto successor = open(next.tcp_uri("a", "publish=on_flush"));
  std::cout << "an owner that was cut off was followed in "
            << std::chrono::duration_cast<milliseconds>(Clock::now() - began).count() << " ms" << std::endl;
  CHECK(Clock::now() - began < seconds{10});
  CHECK(last_commit(*successor) == 1);
  commit(*successor, 2);
  // Still cut off: it does not know who has the store, and says nothing from the past.
  const auto asked = Clock::now();
  CHECK(thrown_by([&] { last_commit(*reader); }).code() == Errc::timed_out);
  CHECK(Clock::now() - asked < seconds{10});
  REQUIRE(host.cut(false));
  const auto lost = thrown_by([&] { commit(*writer, 3); });
  INFO(lost.what());
  CHECK((lost.code() == Errc::lease_lost || lost.code() == Errc::timed_out));
  owner.wait_for_err("store taken over");
  check_error(thrown_by([&] { static_cast<void>(open(far + "&access=read")); }), Errc::busy, {"locked by"});
  CHECK(last_commit(*successor) == 2);
  CHECK(next.stop() == 0);
  owner.signal(SIGTERM);
  CHECK(owner.wait() == 0);
}

}  // namespace
}  // namespace pageserver::test
