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
pid_t process_of(const std::string& name) {
  pid_t pid = 0;
  std::ifstream{cluster_folder() + "/" + name + ".pid"} >> pid;
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

void wait_for_osds(int count) {
  wait_until([&] {
    const auto stat = run({"ceph", "-c", cluster_folder() + "/ceph.conf", "--connect-timeout", "5", "osd", "stat"});
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
    open(daemon.tcp_uri("a"))->grow(64);
    open(daemon.tcp_uri("b"))->grow(64);
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
  std::vector<std::unique_ptr<StandsStill>> still;
  for (int i = 0; i < osds; ++i) still.push_back(std::make_unique<StandsStill>("osd." + std::to_string(i)));
  auto second = std::async(std::launch::async, [&] {
    try {
      commit(*writer, 2);
      return true;
    } catch (const MemoryError&) {
      return false;  // as good an answer: nobody was told that it is durable
    }
  });
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
  still.clear();
  const bool committed = second.get();
  wait_for_osds(osds);
  // In its order, and by itself.
  wait_until([&] {
    try {
      const std::uint64_t found = last_commit(*open(served.daemon.tcp_uri("a", "access=read")));
      CHECK((found == 2 || (found == 1 && !committed)));
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  });
  CHECK(served.daemon.stop() == 0);
}

TEST_CASE("faults: a daemon whose OSDs stand still ends at a second signal") {
  auto served = std::make_unique<Served>();
  commit(*open(served->daemon.tcp_uri("a", "publish=on_flush")), 1);
  std::vector<std::unique_ptr<StandsStill>> still;
  for (int i = 0; i < osds; ++i) still.push_back(std::make_unique<StandsStill>("osd." + std::to_string(i)));
  served->daemon.expect_complaint("");
  served->daemon.process().signal(SIGTERM);
  served->daemon.wait_for_log("stopping");
  CHECK(served->daemon.process().running());
  served->daemon.process().signal(SIGTERM);
  const auto began = Clock::now();
  served->daemon.process().wait();
  CHECK(Clock::now() - began < seconds{5});
  still.clear();
  wait_for_osds(osds);
  Daemon next{{"--store", "a=" + served->path}};
  CHECK(last_commit(*open(next.tcp_uri("a", "access=read"))) == 1);
  CHECK(next.stop() == 0);
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
  // A cluster of its own, which listens where the far host gets.
  TempDir folder;
  struct Cluster {
    explicit Cluster(const std::string& at, const std::string& listens) : folder{at} {
      const auto begun = run({"env", "OSDS=1", "HOST=" + listens, CEPH_CLUSTER_SCRIPT, "start", folder});
      INFO(begun.err);
      REQUIRE(begun.status == 0);
    }
    ~Cluster() { run({CEPH_CLUSTER_SCRIPT, "stop", folder}); }
    const std::string folder;
  } cluster{folder.file("cluster"), address};
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
