// Polling for a session's next request: that it finds requests, gives way, and ends when it does not pay.
#include <sched.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

// The value of `key=` in the log's line about the end of the only session.
std::uint64_t at_close(const Daemon& daemon, const std::string& key) {
  daemon.wait_for_log(" INFO session close");
  const std::string log = daemon.log();
  std::smatch found;
  REQUIRE(std::regex_search(log, found, std::regex("session close.* " + key + "=(\\d+)")));
  return std::stoull(found[1]);
}

void ping(RawClient& client, int count) {
  for (int i = 0; i < count; ++i) client.call(proto::PingRequest{});
}

// User and system time of all threads so far, in clock ticks.
std::uint64_t cpu_ticks(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  std::uint64_t user = 0, system = 0;
  fields >> user >> system;
  return user + system;
}

/// The nice value of each thread of a loop, by its name.
std::map<std::string, int> nice_of_loops(pid_t process) {
  std::map<std::string, int> found;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task")) {
    std::ifstream file(thread.path() / "stat");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const std::string name = text.substr(text.find('(') + 1, text.rfind(')') - text.find('(') - 1);
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int field = 3; field < 19; ++field) fields >> skipped;
    int nice = 0;
    fields >> nice;
    if (name.starts_with("readers") || name.starts_with("writers")) found[name] = nice;
  }
  return found;
}

}  // namespace

TEST_CASE("with one processor the loops of writers give way to those of readers, with more of them they need not") {
  cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  const bool one = GENERATE(true, false);
  if (!one && CPU_COUNT(&before) < 2) return;  // there is nothing to compare with
  cpu_set_t few = before;
  std::size_t cpu = 0;
  while (!CPU_ISSET(cpu, &before)) ++cpu;
  if (one) {
    CPU_ZERO(&few);
    CPU_SET(cpu, &few);
  }
  REQUIRE(::sched_setaffinity(0, sizeof few, &few) == 0);
  const Daemon daemon({"--store", "demo={dir}/demo.img"});
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
  const int own = ::getpriority(PRIO_PROCESS, 0);
  const auto nice = nice_of_loops(daemon.pid());
  REQUIRE(nice.size() >= 2);
  for (const auto& [name, value] : nice) {
    INFO(name);
    CHECK(value == std::min(19, own + (one && name.starts_with("writers") ? 5 : 0)));
  }
}

TEST_CASE("a daemon that polls looks for the next request before it sleeps") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--poll-us", "1000"});
  // On a busy machine a session may have its next request there whenever it looks: then another one tells more.
  bool polled = false;
  for (std::size_t sessions = 1; !polled && sessions <= 50; ++sessions) {
    RawClient client = session_on(daemon, "demo");
    ping(client, 200);
    client.call(proto::CloseRequest{});
    wait_until([&] { return count_of(daemon.log(), " INFO session close") == sessions; });
    const std::string log = daemon.log();
    polled = log.substr(log.rfind(" INFO session close")).find(" polls=0") == std::string::npos;
  }
  CHECK(polled);
}

TEST_CASE("with poll_us=0 every look finds something or is followed by sleep") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--poll-us", "0"});
  RawClient client = session_on(daemon, "demo");
  ping(client, 200);
  client.call(proto::CloseRequest{});
  CHECK(at_close(daemon, "polls") == 0);
}

TEST_CASE("an idle daemon uses no CPU, whatever it polled before") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--poll-us", "1000"});
  std::vector<RawClient> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(session_on(daemon, "demo", proto::Access::read));
    ping(clients.back(), 100);
  }
  // Every reading is a quarter of a second after the one before; a daemon that polled for ever would use some 25 ticks
  // in each.
  std::uint64_t before = cpu_ticks(daemon.pid());
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (int quiet = 0; quiet < 4;) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // the length of what is measured
    const std::uint64_t now = cpu_ticks(daemon.pid());
    quiet = now == before ? quiet + 1 : 0;
    before = now;
  }
  for (RawClient& client : clients) ping(client, 1);
}

TEST_CASE("sessions that poll on one thread all get their answers") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--poll-us", "1000"});
  RawClient writer = session_on(daemon, "demo");
  writer.grow(1);
  std::vector<RawClient> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(session_on(daemon, "demo", proto::Access::read));
  for (unsigned round = 0; round < 200; ++round) {
    const auto data = pattern(8, round);
    REQUIRE(writer.call(proto::WriteRequest{0, data}).status() == proto::Status::ok);
    for (RawClient& reader : readers) REQUIRE(reader.call(proto::ReadRequest{0, 8}).payload == data);
  }
}
