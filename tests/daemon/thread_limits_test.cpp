// A daemon that gets no more threads refuses a store by name, lives, and serves it once there are some.
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
    std::ofstream(dir.file("c.json")) << R"({"directory": {"path": ")" + dir.path().string() +
                                             R"(", "create": true, "remove": true}, "limits": {"log_bytes": "4MiB"}})";
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

// Listeners, catalog, log and signals have one each, a store three: room for three stores, and two threads over.
constexpr int few_threads = 4 + 3 * 3 + 2;

void check_three_stores(FewThreads& few) {
  RawClient admin = few.greeted();
  constexpr int stores = 8;
  for (int i = 0; i < stores; ++i) {
    proto::CreateRequest request;
    const std::string name = "s" + std::to_string(i);
    request.store = name;
    request.pages = 16;
    admin.call(request).as<proto::CreateAnswer>();
  }
  std::vector<RawClient> sessions;
  for (int i = 0; i < stores; ++i) {
    RawClient client = few.greeted();
    const Frame answer = client.try_open("s" + std::to_string(i));
    if (i < 3) {
      REQUIRE(answer.status() == proto::Status::ok);
      sessions.push_back(std::move(client));
      continue;
    }
    REQUIRE(answer.status() == proto::Status::limit_exceeded);
    INFO(answer.text());
    CHECK(answer.text().find("store \"s" + std::to_string(i) + "\": it needs 3 threads") != std::string::npos);
    CHECK(answer.text().find("no more than its 1") != std::string::npos);
    CHECK(answer.text().find("pids_limit") != std::string::npos);
    CHECK(answer.text().find("limits.stores") != std::string::npos);
    // Asked again on the same connection: nothing half-made is found.
    CHECK(client.try_open("s" + std::to_string(i)).status() == proto::Status::limit_exceeded);
    const auto listed = admin.call(proto::ListRequest{}).as<proto::ListAnswer>();
    REQUIRE(listed.entries.size() == stores);
    for (std::size_t store = 0; store < stores; ++store) CHECK(listed.entries[store].open == (store < 3));
  }
  // More than the log holds goes through the stores that are open: their checkpoints have their threads.
  const auto data = pattern(1u << 20, 3);
  for (RawClient& session : sessions) {
    for (int i = 0; i < 12; ++i) session.write(0, data);
    session.flush();
    CHECK(session.read(0, 1u << 20) == data);
  }
  // One ends, and another finds its threads.
  sessions[1].call(proto::CloseRequest{});
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    RawClient client = few.greeted();
    const Frame answer = client.try_open("s7");
    if (answer.status() == proto::Status::ok) {
      client.write(0, data);
      client.flush();
      break;
    }
    REQUIRE(answer.status() == proto::Status::limit_exceeded);
    REQUIRE(std::chrono::steady_clock::now() < deadline);
  }
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

TEST_CASE("out of threads a store is refused with the numbers and the remedy, and the others go on") {
  if (::getuid() != 0) return skip("only root can run the daemon as a user with a limit of its own");
  FewThreads few(few_threads);
  check_three_stores(few);
}

TEST_CASE("in a cgroup with few pids a store is refused with the numbers and the remedy, and the others go on") {
  const PidsGroup group(few_threads);
  if (!group.works()) return skip("no cgroup with a pids controller can be made here");
  FewThreads few(few_threads, &group);
  check_three_stores(few);
}

TEST_CASE("with the compose file's pids_limit as many stores are open as limits.stores says, and no more") {
  const PidsGroup group(compose_value("pids_limit"));
  if (!group.works()) return skip("no cgroup with a pids controller can be made here");
  raise_open_files_limit();
  FewThreads daemon(0, &group);
  constexpr int stores_max = 256;  // the default of limits.stores
  for (int i = 0; i <= stores_max; ++i) std::ofstream(daemon.dir.file("s" + std::to_string(i) + ".img")).flush();
  std::vector<RawClient> sessions;
  for (int i = 0; i < stores_max; ++i) {
    RawClient client = daemon.greeted();
    client.try_open("s" + std::to_string(i), proto::Access::read).as<proto::OpenAnswer>();
    sessions.push_back(std::move(client));
  }
  const Frame answer = daemon.greeted().try_open("s" + std::to_string(stores_max), proto::Access::read);
  CHECK(answer.status() == proto::Status::limit_exceeded);
  CHECK(answer.text().find("limits.stores=256") != std::string::npos);
  // And the health check, a process of its own in the same group, has room.
  CHECK(run({"sh", "-c", "echo $$ > " + group.path() + "/cgroup.procs && exec \"$@\"", "sh", pagectl_path(), "ping",
             "--quiet", "pageserver+unix:///?socket=" + daemon.dir.file("s")})
            .status == 0);
  daemon.process->signal(SIGTERM);
  CHECK(daemon.process->wait() == 0);
}
