// What an opening replayed is to be asked for afterwards: by info and list, by a session in the own process, and not by
// peers that were built before.
#include <signal.h>

#include <chrono>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include <nlohmann/json.hpp>

#include "tests/daemon/images.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

using Json = nlohmann::json;

Json asked(const std::vector<std::string>& arguments) {
  const RunResult result = tool(arguments);
  INFO(result.err);
  REQUIRE(result.status == 0);
  return Json::parse(result.out);
}

Json info_of(const Daemon& daemon, const std::string& store) {
  return asked({"info", "--json", daemon.tcp_uri(store)})["recovery"];
}

Json listed(const Daemon& daemon, const std::string& store) {
  const Json list = asked({"list", "--json", daemon.server_uri()});
  for (const Json& entry : list["stores"])
    if (entry["store"] == store) return entry["recovery"];
  FAIL("store " << store << " is not listed");
  return {};
}

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Three publishes of 3 bytes that only the log has.
void leave_a_log(Daemon& daemon, const std::string& store) {
  RawClient client = session_on(daemon, store);
  for (std::uint64_t at = 0; at < 9; at += 3) {
    client.write(at, bytes_of("one"));
    client.flush();
  }
  daemon.kill_hard();
}

void check_found(const Json& recovery, std::int64_t since) {
  REQUIRE(recovery.is_object());
  CHECK(recovery["records"] == 3);
  CHECK(recovery["log_files"] == 1);
  CHECK(recovery["log_bytes"].get<std::uint64_t>() > 0);
  CHECK(recovery["pages"] == 2);
  CHECK(recovery["dropped_files"] == 0);
  CHECK(recovery["dropped_records"] == 0);
  CHECK(recovery["kept_count"] == 0);
  // The clock of files goes in steps.
  CHECK(recovery["unix_ms"].get<std::int64_t>() >= since - 100);
  CHECK(recovery["unix_ms"].get<std::int64_t>() <= unix_ms());
}

/// A client of before: it knows zero, data_ranges and commit.
RawClient old_client(const Daemon& daemon) {
  RawClient client = RawClient::tcp(daemon.port());
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = 7;
  const Frame frame = client.call(hello);
  CHECK(frame.as<proto::HelloAnswer>().features == 7);
  return client;
}

}  // namespace

TEST_CASE("info and list say what the last opening replayed, and after a clean start that nothing was") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  CHECK(info_of(daemon, "a").is_null());
  CHECK(listed(daemon, "a").is_null());
  leave_a_log(daemon, "a");
  const std::int64_t before = unix_ms();
  daemon.start_again();
  check_found(info_of(daemon, "a"), before);
  CHECK(info_of(daemon, "a")["warning"].is_null());
  CHECK(info_of(daemon, "a")["kept_files"] == Json::array());
  check_found(listed(daemon, "a"), before);
  CHECK(listed(daemon, "a")["warned"] == false);
  CHECK(contains(tool({"info", daemon.tcp_uri("a")}).out, ", 3 publishes from 1 file of the log, "));
  CHECK(contains(tool({"list", daemon.server_uri()}).out, "recovered "));
  REQUIRE(daemon.stop() == 0);
  daemon.start_again();
  CHECK(info_of(daemon, "a").is_null());
  CHECK(listed(daemon, "a").is_null());
}

TEST_CASE(
    "what the opening of a store of the directory replayed is known while it is closed, and until it is removed") {
  TempDir dir;
  std::ofstream(dir.path() / "c.json") << R"({"directory": {"path": ")" + dir.file("d") +
                                              R"(", "create": true, "remove": true, "linger": 0}})";
  std::filesystem::create_directory(dir.path() / "d");
  make_image(dir.path() / "d" / "a.img", 2);
  Daemon daemon({"--config", "{dir}/c.json"}, &dir);
  leave_a_log(daemon, "a");
  const std::int64_t before = unix_ms();
  daemon.start_again();
  // It is opened for its first session only, and a list opens nothing.
  CHECK(listed(daemon, "a").is_null());
  check_found(info_of(daemon, "a"), before);
  for (;;) {
    const Json stores = asked({"list", "--json", daemon.server_uri()})["stores"];
    check_found(stores[0]["recovery"], before);
    if (stores[0]["open"] == false) break;
  }
  check_found(info_of(daemon, "a"), before);
  REQUIRE(tool({"remove", daemon.tcp_uri("a")}).status == 0);
  REQUIRE(tool({"create", daemon.tcp_uri("a")}).status == 0);
  CHECK(listed(daemon, "a").is_null());
}

TEST_CASE("what a recovery could not replay and kept aside is named by info, and a list says that there is more") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  leave_a_log(daemon, "a");
  REQUIRE(shell("head -c 5000 /dev/urandom >'" + dir.file("a.img.log.0000000001") + "'").status == 0);
  daemon.expect_complaint("of the log");
  daemon.start_again();
  const Json found = info_of(daemon, "a");
  REQUIRE(found.is_object());
  CHECK(found["records"] == 0);
  CHECK(found["dropped_files"] == 1);
  CHECK(found["kept_count"] == 1);
  CHECK(found["kept_files"] == Json(names_with(dir.path(), "a.img.kept-")));
  CHECK(contains(found["warning"].get<std::string>(), "more than a torn end of the log"));
  const Json entry = listed(daemon, "a");
  CHECK(entry["warned"] == true);
  CHECK(entry["kept_count"] == 1);
  const std::string text = tool({"info", daemon.tcp_uri("a")}).out;
  CHECK(contains(text, "kept        a.img.kept-"));
  CHECK(contains(tool({"list", daemon.server_uri()}).out, "kept aside 1 file (see `pagectl info`)"));
}

TEST_CASE("a client that does not know recoveries is told nothing of them") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  leave_a_log(daemon, "a");
  daemon.start_again();
  RawClient client = old_client(daemon);
  const Frame list = client.call(proto::ListRequest{});
  const auto stores = list.as<proto::ListAnswer>();
  REQUIRE(stores.entries.size() == 1);
  CHECK_FALSE(stores.entries[0].recovery);
  CHECK_FALSE(stores.entries[0].recovery_warned);
  CHECK(list.payload.size() == 8 + 16 + 1);
  client.open("a", proto::Access::read);
  const Frame stat = client.call(proto::StatRequest{});
  CHECK_FALSE(stat.as<proto::StatAnswer>().recovery);
  CHECK(stat.payload.size() == 112 + 1);
  RawClient today = session_on(daemon, "a", proto::Access::read);
  const Frame with = today.call(proto::StatRequest{});
  REQUIRE(with.as<proto::StatAnswer>().recovery);
  CHECK(with.as<proto::StatAnswer>().recovery->records == 3);
}

TEST_CASE("a store in the own process says what its opening replayed") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  leave_a_log(daemon, "a");
  const std::int64_t before = unix_ms();
  check_found(asked({"info", "--json", "store:" + dir.file("a.img")})["recovery"], before);
  CHECK(asked({"info", "--json", "store:" + dir.file("a.img")})["recovery"].is_null());
}
