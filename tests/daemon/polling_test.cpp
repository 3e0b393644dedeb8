// Polling for a session's next request: that it finds requests, gives way, and ends when it does not pay.
#include <fstream>
#include <regex>
#include <thread>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

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

}  // namespace

TEST_CASE("a daemon that polls looks for the next request before it sleeps") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--poll-us", "1000"});
  RawClient client = session_on(daemon, "demo");
  ping(client, 200);
  client.call(proto::CloseRequest{});
  CHECK(at_close(daemon, "polls") > 0);
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
