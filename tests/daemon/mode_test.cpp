// The modes in which tests run once more (tests/support/test_mode.hpp) reach the daemon and the sessions.
#include <stdlib.h>

#include <filesystem>
#include "tests/support/catch.hpp"

#include "storage/file/processors.hpp"
#include "tests/daemon/helpers.hpp"
#include "tests/support/test_mode.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

/// A mode for as long as it lives.
class InMode {
public:
  explicit InMode(const char* mode) { ::setenv("PAGESERVER_TEST_MODE", mode, 1); }
  InMode(const InMode&) = delete;
  InMode& operator=(const InMode&) = delete;
  ~InMode() { ::unsetenv("PAGESERVER_TEST_MODE"); }
};

/// Whether so many threads serve readers. A thread names itself a moment after it was started.
bool serve(const Daemon& daemon, std::size_t wanted) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (std::size_t count = 0; std::chrono::steady_clock::now() < deadline; count = 0) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(daemon.pid()) + "/task")) {
      std::ifstream comm(task.path() / "comm");
      std::string name;
      std::getline(comm, name);
      if (name.starts_with("readers ")) ++count;
    }
    if (count == wanted) return true;
    if (count > wanted) return false;
  }
  return false;
}

}  // namespace

TEST_CASE("without a mode nothing is added") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  const unsigned processors = storage::usable_processors();
  CHECK(serve(daemon, processors));
  CHECK(daemon.tcp_uri("demo") == daemon.server_uri() + "/demo");
}

TEST_CASE("a mode reaches the daemon, with a configuration and without, and the sessions") {
  const InMode mode("threads,polling,cache");
  TempDir dir;
  std::ofstream(dir.file("c.json")) << GENERATE("", R"({"limits": {"stores": 7}})", "{ }");
  std::vector<std::string> flags{"--store", "demo={dir}/demo.img"};
  if (std::filesystem::file_size(dir.file("c.json")) > 0) flags.insert(flags.end(), {"--config", "{dir}/c.json"});
  Daemon daemon(flags, &dir);
  CHECK(serve(daemon, 3));
  CHECK_THAT(daemon.tcp_uri("demo"), Contains("?poll_us=1000&cache_bytes=1MiB"));
  CHECK_THAT(daemon.unix_uri("demo", "access=read"), Contains("&access=read&poll_us=1000&cache_bytes=1MiB"));
  // It polls where requests come soon enough, which a busy machine may keep them from for a while.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  bool polled = false;
  while (!polled && std::chrono::steady_clock::now() < deadline) {
    RawClient client = session_on(daemon, "demo");
    for (int i = 0; i < 200; ++i) client.call(proto::PingRequest{});
    client.call(proto::CloseRequest{});
    daemon.wait_for_log(" INFO session close");
    const std::string log = daemon.log();
    for (std::size_t at = log.find(" polls="); at != std::string::npos && !polled; at = log.find(" polls=", at + 1))
      polled = log.compare(at, 8, " polls=0") != 0;
  }
  CHECK(polled);
}

TEST_CASE("what a test says itself wins over the mode") {
  const InMode mode("threads,polling,cache");
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"threads": 2})";
  Daemon daemon({"--config", "{dir}/c.json", "--store", "demo={dir}/demo.img", "--poll-us", "0"}, &dir);
  CHECK(serve(daemon, 2));
  CHECK(daemon.tcp_uri("demo", "poll_us=0&cache_bytes=2MiB") ==
        daemon.server_uri() + "/demo?poll_us=0&cache_bytes=2MiB");
  RawClient client = session_on(daemon, "demo");
  client.call(proto::CloseRequest{});
  daemon.wait_for_log(" INFO session close");
  daemon.wait_for_log(" polls=0");
}

TEST_CASE("a mode that is none is refused") {
  const InMode mode("threads,cash");
  CHECK_THROWS_WITH(TestMode::from_environment(), Contains("\"cash\""));
}
