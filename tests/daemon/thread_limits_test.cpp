// A daemon that gets no more threads refuses a store by name, lives, and serves it once there are some.
#include <grp.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

// RLIMIT_NPROC counts the threads of a user, and root has no limit: the daemon runs as a user whom nobody else is.
constexpr unsigned lone_user = 64'123;

struct FewThreads {
  explicit FewThreads(int threads) {
    std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
    std::ofstream(dir.file("c.json")) << R"({"directory": {"path": ")" + dir.path().string() +
                                             R"(", "create": true, "remove": true}, "limits": {"log_bytes": "4MiB"}})";
    const std::string user = std::to_string(lone_user);
    std::vector<std::string> argv;
    if (::getuid() == 0) argv = {"setpriv", "--reuid", user, "--regid", user, "--clear-groups"};
    argv.insert(argv.end(), {"prlimit", "--nproc=" + std::to_string(threads), pageserverd_path(), "--unix",
                             dir.file("s"), "--config", dir.file("c.json")});
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

}  // namespace

TEST_CASE("out of threads a store is refused with the numbers and the remedy, and the others go on") {
  if (::getuid() != 0) {
    WARN("only root can run the daemon as a user with a limit of its own");
    return;
  }
  // Listeners, catalog, log and signals have one each, a store three: room for three stores, and two threads over.
  FewThreads few(4 + 3 * 3 + 2);
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
