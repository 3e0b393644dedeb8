// The metrics listener of a real daemon.
#include <set>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

const std::vector<std::string> with_metrics{"--metrics", "0", "--store", "demo={dir}/demo.img"};

std::string scrape(const Daemon& daemon) {
  const HttpAnswer answer = http_get(RawClient::tcp(metrics_port(const_cast<Daemon&>(daemon).process())), "/metrics");
  REQUIRE(answer.code == 200);
  return answer.body;
}

double value(const Daemon& daemon, const std::string& sample) { return sample_of(scrape(daemon), sample); }

RawClient asking(Daemon& daemon) { return RawClient::tcp(metrics_port(daemon.process())); }

std::string requests(std::string_view operation, std::string_view status) {
  return "pageserver_requests_total{operation=\"" + std::string(operation) + "\",status=\"" + std::string(status) +
         "\"}";
}

std::string took(std::string_view operation) {
  return "pageserver_request_duration_seconds_count{operation=\"" + std::string(operation) + "\"}";
}

std::string of_store(std::string_view family, std::string_view store) {
  return "pageserver_store_" + std::string(family) + "{store=\"" + std::string(store) + "\"}";
}

bool has_program(const std::string& name) { return run({"/bin/sh", "-c", "command -v " + name}).status == 0; }

}  // namespace

TEST_CASE("metrics: count what clients asked for, exactly") {
  Daemon daemon(with_metrics);
  // Known from the first look at the disk on, which may come after the start.
  wait_until([&] { return scrape(daemon).find("\n" + of_store("disk_available_bytes", "demo")) != std::string::npos; });
  const std::string before = scrape(daemon);
  CHECK(sample_of(before, "pageserver_ready") == 1);
  CHECK(sample_of(before, "pageserver_connections") == 0);
  CHECK(sample_of(before, "pageserver_sessions{access=\"write\"}") == 0);
  {
    RawClient writer = session_on(daemon, "demo");
    writer.grow(3);
    for (int i = 0; i < 5; ++i) writer.write(8, pattern(8, 1));
    for (int i = 0; i < 70; ++i) writer.read(0, 8);
    CHECK(writer.call(proto::ReadRequest{3 * page_size, 8}).status() == proto::Status::out_of_bounds);
    CHECK(writer.call(proto::FlushRequest{}).status() == proto::Status::ok);
    const std::string during = scrape(daemon);
    CHECK(sample_of(during, requests("hello", "ok")) == 1);
    CHECK(sample_of(during, requests("open", "ok")) == 1);
    CHECK(sample_of(during, requests("grow", "ok")) == 1);
    CHECK(sample_of(during, requests("write", "ok")) == 5);
    CHECK(sample_of(during, requests("read", "ok")) == 70);
    CHECK(sample_of(during, requests("read", "out_of_bounds")) == 1);
    CHECK(sample_of(during, requests("flush", "ok")) == 1);
    CHECK(sample_of(during, took("read")) == 71);
    CHECK(sample_of(during, took("open")) == 1);
    CHECK(sample_of(during, took("flush")) == 1);
    CHECK(sample_of(during, "pageserver_log_sync_duration_seconds_count") == 1);
    CHECK(sample_of(during, "pageserver_connections") == 1);
    CHECK(sample_of(during, "pageserver_connections_accepted_total") == 1);
    CHECK(sample_of(during, "pageserver_sessions{access=\"write\"}") == 1);
    CHECK(sample_of(during, "pageserver_stores_open") == 1);
    CHECK(sample_of(during, of_store("size_bytes", "demo")) == 3 * page_size);
    CHECK(sample_of(during, of_store("lease_held", "demo")) == 1);
    CHECK(sample_of(during, of_store("checkpoint_lag_bytes", "demo")) > 0);
    CHECK(sample_of(during, of_store("sync_failed", "demo")) == 0);
    CHECK(sample_of(during, of_store("disk_available_bytes", "demo")) > 0);
    CHECK(writer.call(proto::CloseRequest{}).status() == proto::Status::ok);
  }
  const std::string after = scrape(daemon);
  CHECK(sample_of(after, requests("close", "ok")) == 1);
  CHECK(sample_of(after, "pageserver_sessions{access=\"write\"}") == 0);
  CHECK(sample_of(after, of_store("lease_held", "demo")) == 0);
}

TEST_CASE("metrics: count requests in flight together, and groups of writes") {
  Daemon daemon(with_metrics);
  RawClient writer = session_on(daemon, "demo");
  writer.grow(1);
  for (int round = 0; round < 10; ++round) {
    proto::Bytes bytes;
    const auto data = pattern(8, 2);
    for (std::uint64_t i = 0; i < 40; ++i) proto::encode(bytes, 1000 + i, proto::WriteRequest{8 * i, data});
    for (std::uint64_t i = 0; i < 60; ++i) proto::encode(bytes, 2000 + i, proto::ReadRequest{8 * i, 8});
    REQUIRE(writer.send_bytes(bytes));
    for (int i = 0; i < 100; ++i) REQUIRE(writer.receive()->status() == proto::Status::ok);
  }
  const std::string text = scrape(daemon);
  CHECK(sample_of(text, took("write")) == 400);
  CHECK(sample_of(text, took("read")) == 600);
  CHECK(sample_of(text, requests("write", "ok")) == 400);
}

TEST_CASE("metrics: tell transactions, and leases and versions that were taken") {
  Daemon daemon(with_metrics);
  RawClient writer = RawClient::tcp(daemon.port());
  writer.hello();
  proto::OpenRequest open;
  open.store = "demo";
  open.publish = proto::Publish::on_flush;
  CHECK(writer.call(open).status() == proto::Status::ok);
  writer.grow(1);
  writer.write(0, pattern(8, 1));
  CHECK(writer.call(proto::FlushRequest{}).status() == proto::Status::ok);
  CHECK(value(daemon, "pageserver_commit_duration_seconds_count") == 1);
  RawClient reader = session_on(daemon, "demo", proto::Access::read);
  CHECK(reader.call(proto::BreakLeaseRequest{}).status() == proto::Status::ok);
  CHECK(value(daemon, "pageserver_leases_lost_total{reason=\"broken\"}") == 1);
  CHECK(writer.receive()->is_notice());
  CHECK(writer.call(proto::FlushRequest{}).status() == proto::Status::lease_lost);
  const std::string text = scrape(daemon);
  CHECK(sample_of(text, requests("flush", "lease_lost")) == 1);
  CHECK(sample_of(text, requests("flush", "ok")) == 1);
  CHECK(sample_of(text, "pageserver_leases_lost_total{reason=\"idle\"}") == 0);
}

TEST_CASE("metrics: answer GET and HEAD, and nothing else") {
  Daemon daemon(with_metrics);
  const HttpAnswer got = http_get(asking(daemon), "/metrics");
  CHECK(got.code == 200);
  CHECK(got.has_field("Content-Type: text/plain; version=0.0.4; charset=utf-8"));
  CHECK(got.has_field("Content-Length: " + std::to_string(got.body.size())));
  CHECK(got.body.ends_with('\n'));
  const auto answer = [&](const std::string& request) {
    RawClient client = asking(daemon);
    return http_answer(client, request);
  };
  const HttpAnswer head = answer("HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(head.code == 200);
  CHECK(head.has_field("Content-Length: 3"));
  CHECK(head.body.empty());
  const HttpAnswer post = answer("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(post.code == 405);
  CHECK(post.has_field("Allow: GET, HEAD"));
  CHECK(answer("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").code == 413);
  CHECK(answer("GET /metrics HTTP/1.1\r\n\r\n").code == 400);
  CHECK(answer("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n").code == 404);
  CHECK(answer("GET / HTTP/1.1\nHost: localhost\n\n").code == 400);
  CHECK(answer("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(9000, 'x') + "\r\n\r\n").code == 431);
  const std::string text = scrape(daemon);
  CHECK(sample_of(text, "pageserver_http_requests_total{code=\"405\"}") == 1);
  CHECK(sample_of(text, "pageserver_http_requests_total{code=\"400\"}") == 2);
}

TEST_CASE("metrics: are told to nobody who asks by a name that the daemon does not know") {
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"metrics": {"listen": "127.0.0.1:0", "hosts": ["pageserver"]}})";
  Daemon daemon({"--config", dir.file("c.json"), "--store", "demo={dir}/demo.img"});
  for (const char* const host : {"127.0.0.1:1", "[::1]", "localhost:9", "pageserver", "PageServer:9653"})
    CHECK(http_get(asking(daemon), "/metrics", host).code == 200);
  for (const char* const host :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "pageserver.x"}) {
    const HttpAnswer answer = http_get(asking(daemon), "/metrics", host);
    CHECK(answer.code == 421);
    CHECK(answer.body.find("demo") == std::string::npos);
    CHECK(answer.body.find("metrics.hosts") != std::string::npos);
  }
  CHECK(http_get(asking(daemon), "http://evil.example/metrics").code == 421);
}

TEST_CASE("metrics: over a Unix socket, which goes with the daemon") {
  Daemon daemon({"--metrics", "unix:{dir}/m.sock", "--store", "demo={dir}/demo.img"});
  CHECK(http_get(RawClient::local(daemon.file("m.sock")), "/metrics", "whatever").code == 200);
  const auto mode = std::filesystem::status(daemon.file("m.sock")).permissions();
  CHECK(mode == std::filesystem::perms{0660});
  CHECK(daemon.stop() == 0);
  CHECK_FALSE(std::filesystem::exists(daemon.file("m.sock")));
}

TEST_CASE("metrics: are told while slow peers have every place") {
  Daemon daemon(with_metrics);
  std::vector<RawClient> slow;
  for (int i = 0; i < 40; ++i) {
    slow.push_back(asking(daemon));
    if (i % 2 == 0) send_text(slow.back(), "GET /metrics HTTP/1.1\r\nHost: ");
  }
  CHECK(http_get(asking(daemon), "/livez").code == 200);
  // The first ones had to go for the last ones.
  CHECK(receive_text(slow.front()).empty());
  CHECK(value(daemon, "pageserver_http_connections_refused_total") >= 24);
  CHECK(session_on(daemon, "demo").call(proto::CloseRequest{}).status() == proto::Status::ok);
}

TEST_CASE("metrics: end with a peer that sends no request in time") {
  Daemon daemon(with_metrics);
  RawClient silent = asking(daemon);
  CHECK(receive_text(silent).empty());
  CHECK(value(daemon, "pageserver_http_connections_refused_total") == 1);
}

TEST_CASE("metrics: tell a store that is called other in the sum of the others") {
  Daemon daemon({"--metrics", "0", "--store", "other={dir}/other.img", "--store", "one={dir}/one.img"});
  session_on(daemon, "other").grow(2);
  session_on(daemon, "one").grow(1);
  const std::string text = scrape(daemon);
  CHECK(sample_of(text, of_store("size_bytes", "other")) == 2 * page_size);
  CHECK(sample_of(text, of_store("size_bytes", "one")) == page_size);
}

TEST_CASE("metrics: promtool finds nothing to complain about") {
  if (!has_program("promtool")) return skip("promtool is not installed (Debian's package prometheus)");
  Daemon daemon(with_metrics);
  session_on(daemon, "demo").grow(1);
  const RunResult checked = run({"promtool", "check", "metrics"}, scrape(daemon));
  INFO(checked.out + checked.err);
  CHECK(checked.status == 0);
  CHECK((checked.out + checked.err).empty());
}

TEST_CASE("metrics: each family of the page is told, and nothing else") {
  Daemon daemon(with_metrics);
  session_on(daemon, "demo").grow(1);
  static_cast<void>(scrape(daemon));
  std::set<std::string> told, written;
  const auto first_word = [](const std::string& line, std::size_t from) {
    return line.substr(from, line.find_first_of(" `", from) - from);
  };
  std::istringstream text(scrape(daemon));
  for (std::string line; std::getline(text, line);)
    if (line.starts_with("# TYPE ")) told.insert(first_word(line, 7));
  std::istringstream page(run({pageserverd_path(), "--print-metrics-reference"}).out);
  for (std::string line; std::getline(page, line);)
    if (line.starts_with("| `")) written.insert(first_word(line, 3));
  CHECK(told == written);
}

TEST_CASE("metrics: /readyz says each store, and /livez asks none") {
  Daemon daemon({"--metrics", "0", "--store", "one={dir}/one.img", "--store", "two={dir}/two.img"});
  const HttpAnswer ready = http_get(asking(daemon), "/readyz");
  CHECK(ready.code == 200);
  CHECK(ready.body == "ok\n");
  const HttpAnswer verbose = http_get(asking(daemon), "/readyz?verbose");
  CHECK(verbose.code == 200);
  CHECK(verbose.body == "[+] store one\n[+] store two\nok\n");
}

TEST_CASE(
    "metrics: the page at / shows what there is as text, whatever it is called, and may run its own script alone") {
  Daemon daemon(with_metrics);
  RawClient writer = RawClient::tcp(daemon.port());
  writer.hello();
  proto::OpenRequest open;
  open.store = "demo";
  open.session_name = "<script>alert('1')</script>&\"";
  CHECK(writer.call(open).status() == proto::Status::ok);
  writer.grow(3);
  for (int i = 0; i < 7; ++i) writer.read(0, 8);
  const HttpAnswer page = http_get(asking(daemon), "/");
  CHECK(page.code == 200);
  CHECK(page.has_field("Content-Type: text/html; charset=utf-8"));
  CHECK(page.body.size() <= 60u << 10);
  CHECK(page.body.find("<td>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot; at 127.0.0.1:") !=
        std::string::npos);
  CHECK(page.body.find("alert('1')") == std::string::npos);
  CHECK(page.body.find("<td data-store=\"demo\">demo</td><td class=n>192.0 KiB</td>") != std::string::npos);
  CHECK(page.body.find("<td>read</td><td class=n>7</td><td class=n>0</td>") != std::string::npos);
  CHECK(page.body.find("http://") == std::string::npos);
  CHECK(page.body.find("https://") == std::string::npos);
  // One nonce, new each time.
  const auto nonce_of = [](const HttpAnswer& answer) {
    const std::size_t at = answer.head.find("script-src 'nonce-") + std::string_view("script-src 'nonce-").size();
    return answer.head.substr(at, answer.head.find('\'', at) - at);
  };
  CHECK(page.head.find("default-src 'none'") != std::string::npos);
  CHECK(page.body.find("<script nonce=" + nonce_of(page) + ">") != std::string::npos);
  CHECK(nonce_of(http_get(asking(daemon), "/")) != nonce_of(page));
}

TEST_CASE("metrics: /pages tells of a store's pages in tiles, and says what is wrong with a question") {
  Daemon daemon(with_metrics);
  RawClient writer = session_on(daemon, "demo");
  writer.grow(10);
  writer.write(3 * page_size, pattern(8, 1));
  const HttpAnswer all = http_get(asking(daemon), "/pages?store=demo");
  CHECK(all.code == 200);
  CHECK(all.has_field("Content-Type: application/json"));
  CHECK(all.body ==
        "{\"data\":{\"pages\":1,\"tiles\":\"000f000000\"},\"from\":0,\"held\":{\"pages\":0,\"tiles\":\"0000000000\"},"
        "\"log\":{\"pages\":1,\"tiles\":\"000f000000\"},\"next\":10,\"pages\":10,\"pages_per_tile\":1,\"recent\":"
        "{\"pages\":1,\"tiles\":\"000f000000\"},\"store\":\"demo\",\"version\":3}\n");
  const HttpAnswer tiles = http_get(asking(daemon), "/pages?store=d%65mo&tile=4&from=2");
  CHECK(tiles.body.find("\"log\":{\"pages\":1,\"tiles\":\"40\"}") != std::string::npos);
  const HttpAnswer some = http_get(asking(daemon), "/pages?store=demo&tile=2&tiles=2");
  CHECK(some.body.find("\"log\":{\"pages\":1,\"tiles\":\"08\"}") != std::string::npos);
  CHECK(some.body.find("\"next\":4,") != std::string::npos);
  for (const char* const query :
       {"", "?", "?store=demo&tiles=0", "?store=demo&tiles=4097", "?store=", "?store=demo&tile=0",
        "?store=demo&tile=1048577", "?store=demo&from=-1", "?store=demo&from=1x", "?store=%4", "?store=%zz",
        "?store=demo&other=1", "?store=demo&from=18446744073709551616"}) {
    INFO(query);
    CHECK(http_get(asking(daemon), std::string("/pages") + query).code == 400);
  }
  CHECK(http_get(asking(daemon), "/pages?store=other").code == 404);
  CHECK(http_get(asking(daemon), "/pages?store=demo&from=18446744073709551615").code == 200);
}

TEST_CASE(
    "metrics: the page at / names sessions that ended, and why, and has links to more connections than it shows") {
  Daemon daemon(with_metrics);
  {
    // One that only asks how the store is would not be among them.
    RawClient early = session_on(daemon, "demo", proto::Access::write);
  }
  wait_until([&] { return http_get(asking(daemon), "/").body.find("Sessions that ended last") != std::string::npos; });
  const std::string page = http_get(asking(daemon), "/").body;
  CHECK(page.find("<td>end of stream</td>") != std::string::npos);
  std::vector<RawClient> many;
  for (int i = 0; i < 130; ++i) many.push_back(session_on(daemon, "demo", proto::Access::read));
  const std::string first = http_get(asking(daemon), "/").body;
  CHECK(first.find("Connections: 130") != std::string::npos);
  const std::size_t at = first.find("<a href=\"/?after=");
  REQUIRE(at != std::string::npos);
  const std::string path = first.substr(at + 9, first.find('"', at + 9) - at - 9);
  const std::string second = http_get(asking(daemon), path).body;
  CHECK(second.find("The first ones") != std::string::npos);
  CHECK(second.find("The next 100") == std::string::npos);
  CHECK(first.size() <= 60u << 10);
}
