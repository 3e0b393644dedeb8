// A daemon that gets no more threads than an idle one has serves all its stores.
#include <grp.h>
#include <sys/stat.h>

#include <filesystem>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

// RLIMIT_NPROC counts the threads of a user, and root has no limit: the daemon runs as a user whom nobody else is.
constexpr unsigned lone_user = 64'123;

/// The pids controller of a cgroup of our own, as a container has one; in version 1 or 2 of cgroups.
class PidsGroup {
public:
  explicit PidsGroup(int pids_max) {
    const std::string parent = parent_group();
    if (parent.empty()) return;
    path_ = parent + "/pageserver-test-" + std::to_string(::getpid());
    std::error_code error;
    made_ = std::filesystem::create_directory(path_, error) && std::filesystem::exists(path_ + "/pids.max", error);
    if (made_) made_ = static_cast<bool>(std::ofstream(path_ + "/pids.max") << pids_max << std::flush);
    // A container may have the files and not the right to move a process.
    if (made_) made_ = run({"sh", "-c", "echo $$ > " + path_ + "/cgroup.procs"}).status == 0;
  }
  PidsGroup(const PidsGroup&) = delete;
  PidsGroup& operator=(const PidsGroup&) = delete;
  ~PidsGroup() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove(path_, ignored);  // once nobody is in it
  }

  bool works() const { return made_; }
  const std::string& path() const { return path_; }

private:
  static std::string parent_group() {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const std::size_t first = line.find(':'), second = line.find(':', first + 1);
      const std::string controllers = line.substr(first + 1, second - first - 1), own = line.substr(second + 1);
      const std::string root = controllers == "pids" ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";
      if (controllers != "pids" && !controllers.empty()) continue;
      if (controllers.empty() && !std::filesystem::exists(root + "/cgroup.controllers")) continue;
      return root + (own == "/" ? "" : own);
    }
    return {};
  }

  std::string path_;
  bool made_ = false;
};

/// Whose threads a daemon may use up: a user's of its own, or those of a cgroup.
struct FewThreads {
  explicit FewThreads(int threads, const PidsGroup* group = nullptr) {
    std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
    std::ofstream(dir.file("c.json"))
        << R"({"directory": {"path": ")" + dir.path().string() +
               R"(", "create": true, "remove": true}, "threads": 2, "limits": {"log_bytes": "4MiB"}})";
    const std::string user = std::to_string(lone_user);
    std::vector<std::string> argv;
    if (group != nullptr) {
      argv = {"sh", "-c", "echo $$ > " + group->path() + "/cgroup.procs && exec \"$@\"", "sh"};
    } else {
      argv = {"setpriv", "--reuid",        user,      "--regid",
              user,      "--clear-groups", "prlimit", "--nproc=" + std::to_string(threads)};
    }
    argv.insert(argv.end(), {pageserverd_path(), "--unix", dir.file("s"), "--config", dir.file("c.json")});
    process.emplace(std::move(argv));
    process->wait_for_err(" INFO start ");
  }

  RawClient greeted() const {
    RawClient client = RawClient::local(dir.file("s"));
    client.hello();
    return client;
  }

  TempDir dir;
  std::optional<Process> process;
};

// Listeners, log, signals and the ticker have one each; two loops serve readers and two writers, and one makes
// calls to the disk.
constexpr int few_threads = 4 + 2 + 2 + 1;

std::ptrdiff_t threads_of(const Process& process) {
  return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(process.pid()) + "/task"),
                       std::filesystem::directory_iterator());
}

void check_stores(FewThreads& few, bool counted) {
  RawClient admin = few.greeted();
  constexpr int stores = 8;
  std::vector<RawClient> sessions;
  for (int i = 0; i < stores; ++i) {
    const std::string name = "s" + std::to_string(i);
    admin.call(proto::CreateRequest{name, 16}).as<proto::CreateAnswer>();
    sessions.push_back(few.greeted());
    sessions.back().try_open(name).as<proto::OpenAnswer>();
  }
  // More than the log holds goes through each, at the same time: checkpoints and syncs share what threads there are.
  const auto data = pattern(1u << 20, 3);
  for (int i = 0; i < 12; ++i)
    for (RawClient& session : sessions) session.write(0, data);
  for (RawClient& session : sessions) session.send(proto::FlushRequest{});
  for (RawClient& session : sessions) CHECK(session.must_receive().status() == proto::Status::ok);
  for (RawClient& session : sessions) CHECK(session.read(0, 1u << 20) == data);
  const auto listed = admin.call(proto::ListRequest{}).as<proto::ListAnswer>();
  REQUIRE(listed.entries.size() == stores);
  for (const auto& entry : listed.entries) CHECK(entry.open);
  if (counted) CHECK(threads_of(*few.process) == few_threads);
  few.process->signal(SIGTERM);
  CHECK(few.process->wait() == 0);
  for (const auto& file : std::filesystem::directory_iterator(few.dir.path()))
    CHECK(file.path().string().find(".log.") == std::string::npos);
}

/// The number behind a key of docker/compose.yaml.
int compose_value(const std::string& key) {
  std::ifstream file(COMPOSE_PATH);
  for (std::string line; std::getline(file, line);)
    if (const auto at = line.find(key + ": "); at != std::string::npos && line.find('#') > at)
      return std::stoi(line.substr(at + key.size() + 2));
  FAIL("no " << key << " in " << COMPOSE_PATH);
  return 0;
}

}  // namespace

TEST_CASE("with as many threads as an idle daemon has, and no more, all its stores are served") {
  if (::getuid() != 0) return skip("only root can run the daemon as a user with a limit of its own");
  FewThreads few(few_threads);
  check_stores(few, true);
}

TEST_CASE("in a cgroup with few pids all stores are served") {
  const PidsGroup group(few_threads);
  if (!group.works()) return skip("no cgroup with a pids controller can be made here");
  FewThreads few(few_threads, &group);
  check_stores(few, true);
}

TEST_CASE("with fewer threads than that the daemon does not start, and says what to raise") {
  if (::getuid() != 0) return skip("only root can run the daemon as a user with a limit of its own");
  const TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
  const std::string user = std::to_string(lone_user + 1);
  const RunResult result = run({"setpriv", "--reuid", user, "--regid", user, "--clear-groups", "prlimit", "--nproc=6",
                                pageserverd_path(), "--unix", dir.file("s"), "--directory", dir.path().string()});
  CHECK(result.status == 1);
  INFO(result.err);
  CHECK(result.err.find("threads") != std::string::npos);
  CHECK(result.err.find("pids_limit") != std::string::npos);
}

TEST_CASE("with the compose file's pids_limit as many stores are open as one user may have, and no more") {
  const PidsGroup group(compose_value("pids_limit"));
  if (!group.works()) return skip("no cgroup with a pids controller can be made here");
  raise_open_files_limit();
  FewThreads daemon(0, &group);
  constexpr int stores_max = 461;  // what one user may have of limits.stores, by default
  for (int i = 0; i <= stores_max; ++i) std::ofstream(daemon.dir.file("s" + std::to_string(i) + ".img")).flush();
  std::vector<RawClient> sessions;
  for (int i = 0; i < stores_max; ++i) {
    RawClient client = daemon.greeted();
    client.try_open("s" + std::to_string(i), proto::Access::read).as<proto::OpenAnswer>();
    sessions.push_back(std::move(client));
  }
  const Frame answer = daemon.greeted().try_open("s" + std::to_string(stores_max), proto::Access::read);
  CHECK(answer.status() == proto::Status::limit_exceeded);
  CHECK(answer.text().find("limits.peer_percent=90 of limits.stores=512") != std::string::npos);
  // And the health check, a process of its own in the same group, has room.
  CHECK(run({"sh", "-c", "echo $$ > " + group.path() + "/cgroup.procs && exec \"$@\"", "sh", pagectl_path(), "ping",
             "--quiet", "pageserver+unix:///?socket=" + daemon.dir.file("s")})
            .status == 0);
  daemon.process->signal(SIGTERM);
  CHECK(daemon.process->wait() == 0);
}
