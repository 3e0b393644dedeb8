// What a daemon with rules does when they change, what it tells of them, and where it needs some.
#include <ifaddrs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/access_place.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/skip.hpp"

using namespace pageserver;
using namespace pageserver::test;
using nlohmann::json;
using proto::Access;
using proto::Operation;
using proto::Status;

namespace {

/// As an administrator does it: the file is replaced, then the daemon is told.
void reload(Daemon& daemon, Place& place) {
  const std::size_t from = daemon.log().size();
  place.flags();
  daemon.process().signal(SIGHUP);
  daemon.process().wait_for_err("rules ", from);
}

/// The goodbye that ends a connection, whatever was answered before it.
Frame goodbye_of(RawClient& client) {
  for (;;) {
    Frame frame = client.must_receive();
    if (frame.is_notice() && frame.header.operation == Operation::goodbye) return frame;
  }
}

}  // namespace

TEST_CASE("access: a token that is taken back ends its connections with the reason, and no others") {
  Place place;
  place.token("old");
  place.token("new");
  place.rule("token:*", "*", {"read", "write"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  RawClient old = greeted(daemon, place.tokens["old"]), idle = greeted(daemon, place.tokens["old"]),
            kept = greeted(daemon, place.tokens["new"]);
  old.open("demo");
  kept.open("demo", Access::read);
  std::ifstream in(place.dir.file("tokens"));
  std::string first, second;
  std::getline(in, first);
  std::getline(in, second);
  REQUIRE(second.starts_with("new sha256:"));
  std::ofstream(place.dir.file("tokens"), std::ios::trunc) << second << '\n';
  reload(daemon, place);
  for (RawClient* const each : {&old, &idle}) {
    const Frame told = goodbye_of(*each);
    CHECK(told.status() == Status::permission_denied);
    CHECK(told.text() == "the token of token:old was taken back");
    CHECK(each->closed_within());
  }
  CHECK(kept.call(proto::SizeRequest{}).status() == Status::ok);
  RawClient next = greeted(daemon, place.tokens["new"]);
  CHECK(next.try_open("demo").status() == Status::ok);
  RawClient again = RawClient::tcp(daemon.port());
  again.send(hello_of("token " + place.tokens["old"]));
  CHECK(again.must_receive().status() == Status::permission_denied);
}

TEST_CASE("access: a right that is taken back ends the sessions that need it, and what is left goes on") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read", "write", "admin"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  RawClient writer = greeted(daemon, place.tokens["ci"]), reader = greeted(daemon, place.tokens["ci"]),
            waiting = greeted(daemon, place.tokens["ci"]);
  writer.open("demo");
  reader.open("demo", Access::read);
  CHECK(reader.call(proto::BreakLeaseRequest{~0ull}).status() == Status::ok);
  proto::OpenRequest in_line;
  in_line.store = "demo";
  in_line.wait_ms = 600'000;
  waiting.send(in_line);
  RawClient watching = greeted(daemon, place.tokens["ci"]);
  const auto waits = [&] {
    const Frame frame = watching.call(proto::SessionsRequest{});
    for (const auto& entry : frame.as<proto::SessionsAnswer>().entries)
      if (entry.place_in_line != 0) return true;
    return false;
  };
  while (!waits()) {
  }
  place.config["rules"][0]["may"] = {"read"};
  reload(daemon, place);
  for (RawClient* const each : {&writer, &waiting}) {
    const Frame told = goodbye_of(*each);
    CHECK(told.status() == Status::permission_denied);
    CHECK(told.text().find("takes the right write, and token:ci may do read there") != std::string::npos);
  }
  CHECK(reader.call(proto::SizeRequest{}).status() == Status::ok);
  CHECK(reader.call(proto::BreakLeaseRequest{~0ull}).status() == Status::permission_denied);
  CHECK(watching.call(proto::SessionsRequest{}).status() == Status::permission_denied);
  // And what is given is there at once, on connections that exist.
  place.config["rules"][0]["may"] = {"write"};
  reload(daemon, place);
  CHECK(watching.try_open("demo").status() == Status::ok);
  CHECK(goodbye_of(reader).status() == Status::permission_denied);
}

TEST_CASE("access: rules or tokens that are wrong are not taken, and the old ones go on until they are mended") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  daemon.expect_complaint("rules not read");
  RawClient client = greeted(daemon, place.tokens["ci"]);
  client.open("demo", Access::read);
  const auto still_served = [&] {
    CHECK(client.call(proto::SizeRequest{}).status() == Status::ok);
    RawClient another = greeted(daemon, place.tokens["ci"]);
    CHECK(another.try_open("demo", Access::read).status() == Status::ok);
    CHECK(another.call(proto::CloseRequest{}).status() == Status::ok);
  };
  const json good = place.config;
  place.config["rules"][0]["may"] = {"reed"};
  reload(daemon, place);
  daemon.wait_for_log("rules[0].may[0]");
  still_served();
  place.config = good;
  place.config.erase("rules");
  place.config.erase("tokens_file");
  reload(daemon, place);
  daemon.wait_for_log("takes a restart to do without");
  still_served();
  place.config = good;
  ::chmod(place.dir.file("tokens").c_str(), 0644);
  reload(daemon, place);
  daemon.wait_for_log("chmod 600");
  still_served();
  ::chmod(place.dir.file("tokens").c_str(), 0600);
  std::ofstream(place.dir.file("config.json"), std::ios::trunc) << "{\"rules\": [";
  const std::size_t from = daemon.log().size();
  daemon.process().signal(SIGHUP);
  daemon.process().wait_for_err("not JSON", from);
  still_served();
  place.config["rules"][0]["may"] = {"fork"};
  reload(daemon, place);
  CHECK(goodbye_of(client).status() == Status::permission_denied);
}

TEST_CASE("access: a file that is swapped behind a link is found without a signal") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  place.store("demo");
  place.flags();
  // As Kubernetes does it: config.json is a link into a folder that is a link.
  const auto& root = place.dir.path();
  std::filesystem::create_directories(root / "v1");
  std::filesystem::create_directories(root / "v2");
  std::filesystem::rename(root / "config.json", root / "v1/config.json");
  place.config["rules"][0]["may"] = {"fork"};
  std::ofstream((root / "v2/config.json").string()) << place.config;
  std::filesystem::create_symlink("v1", root / "data");
  std::filesystem::create_symlink("data/config.json", root / "config.json");
  Daemon daemon{{"--config", (root / "config.json").string()}, &place.dir};
  RawClient client = greeted(daemon, place.tokens["ci"]);
  client.open("demo", Access::read);
  std::filesystem::create_symlink("v2", root / "next");
  std::filesystem::rename(root / "next", root / "data");
  daemon.wait_for_log("a file has changed");
  CHECK(goodbye_of(client).status() == Status::permission_denied);
}

TEST_CASE("access: refusals and uses of admin are a line each, and a flood of them is counted") {
  Place place;
  place.token("boss");
  place.rule("token:boss", "demo", {"read", "admin"});
  place.store("demo");
  Daemon daemon{place.flags(), &place.dir};
  RawClient boss = greeted(daemon, place.tokens["boss"]), nobody = greeted(daemon, "");
  CHECK(boss.call(proto::SessionsRequest{0, "demo"}).status() == Status::ok);
  boss.open("demo", Access::read);
  CHECK(boss.call(proto::BreakLeaseRequest{~0ull}).status() == Status::ok);
  daemon.wait_for_log("operation=sessions store=demo who=token:boss");
  daemon.wait_for_log("operation=break_lease store=demo who=token:boss");
  constexpr std::size_t flood = 400;
  for (std::size_t i = 0; i < flood; ++i) CHECK(nobody.try_open("demo").status() == Status::permission_denied);
  // Each further one may be the one that says how many were left out before it.
  std::size_t asked = flood;
  const auto left_out = [&] {
    const std::string log = daemon.log();
    std::size_t sum = 0;
    for (std::size_t at = 0; (at = log.find("left_out=", at)) != std::string::npos; ++at)
      sum += std::stoul(log.substr(at + 9));
    return sum;
  };
  while (left_out() == 0) {
    CHECK(nobody.try_open("demo").status() == Status::permission_denied);
    ++asked;
  }
  const std::size_t lines = count_of(daemon.log(), "access refused");
  CHECK(lines >= 40);
  CHECK(lines + left_out() <= asked);
  CHECK(lines < asked);
}

TEST_CASE("access: refusals by their reason, and rules that are taken or wrong, are counted among the metrics") {
  Place place;
  place.token("ci");
  place.rule("token:ci", "*", {"read"});
  std::vector<std::string> flags = place.flags();
  flags.insert(flags.end(), {"--metrics", "unix:{dir}/metrics.sock"});
  Daemon daemon{flags, &place.dir};
  daemon.expect_complaint("rules not read");
  RawClient nobody = greeted(daemon, "");
  CHECK(nobody.try_open("demo").status() == Status::permission_denied);
  place.config["rules"][0]["may"] = {"reed"};
  reload(daemon, place);
  const auto tells = [&](std::string_view sample) {
    const std::string told = http_get(RawClient::local(place.dir.file("metrics.sock")), "/metrics").body;
    return told.find(sample) != std::string::npos;
  };
  CHECK(tells("pageserver_auth_failures_total{reason=\"right\"} 1\n"));
  CHECK(tells("pageserver_auth_failures_total{reason=\"token\"} 0\n"));
  CHECK(tells("pageserver_auth_failures_total{reason=\"tls\"} 0\n"));
  CHECK(tells("pageserver_reloads_total{files=\"rules\",result=\"failed\"} 1\n"));
  CHECK(tells("pageserver_reloads_total{files=\"rules\",result=\"taken\"} 0\n"));
  CHECK(tells("pageserver_rules_not_taken 1\n"));
  place.config["rules"][0]["may"] = {"read"};
  reload(daemon, place);
  CHECK(tells("pageserver_reloads_total{files=\"rules\",result=\"failed\"} 1\n"));
  CHECK(tells("pageserver_reloads_total{files=\"rules\",result=\"taken\"} 1\n"));
  CHECK(tells("pageserver_rules_not_taken 0\n"));
  RawClient guesser = RawClient::tcp(daemon.port());
  guesser.send(hello_of("token x"));
  CHECK(guesser.must_receive().status() == Status::permission_denied);
  CHECK(tells("pageserver_auth_failures_total{reason=\"token\"} 1\n"));
  RawClient known = greeted(daemon, place.tokens["ci"]);
  std::ofstream(place.dir.file("tokens"), std::ios::trunc).flush();
  reload(daemon, place);
  goodbye_of(known);
  CHECK(tells("pageserver_auth_failures_total{reason=\"token\"} 2\n"));
  CHECK(tells("pageserver_auth_failures_total{reason=\"right\"} 1\n"));
}

TEST_CASE("access: an address that other machines reach takes rules, or --insecure") {
  const TempDir dir;
  const std::vector<std::string> argv{pageserverd_path(), "--store", "demo=" + dir.file("demo.img"), "--check-config"};
  const auto check = [&](std::vector<std::string> more) {
    more.insert(more.begin(), argv.begin(), argv.end());
    return run(more);
  };
  for (const char* const address : {"0.0.0.0:7000", "[::]:7000", "192.0.2.1:7000", "[2001:db8::1]:7000"}) {
    INFO(address);
    const RunResult refused = check({"--listen", address});
    CHECK(refused.status == 1);
    for (const char* const remedy : {"rules", "TLS", "--insecure"})
      CHECK(refused.err.find(remedy) != std::string::npos);
    CHECK(check({"--listen", address, "--insecure"}).status == 0);
  }
  for (const char* const address : {"127.0.0.1:7000", "127.9.9.9:7000", "localhost:7000", "[::1]:7000"})
    CHECK(check({"--listen", address}).status == 0);
  std::ofstream(dir.file("c.json")) << R"({"rules": [{"who": "anyone", "stores": "demo", "may": ["read"]}]})";
  CHECK(check({"--listen", "0.0.0.0:7000", "--config", dir.file("c.json")}).status == 0);
  CHECK(check({"--listen", "0.0.0.0:7000", "--config", dir.file("c.json"), "--insecure"}).status == 1);
}
