// The commands against a real daemon, over TCP and over a Unix socket.
#include "tests/pagectl/served.hpp"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include "tests/support/catch.hpp"

#include "tests/pagectl/proxy.hpp"
#include "tests/pagectl/tool.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/wait.hpp"

using namespace pageserver::test;
using Catch::Matchers::StartsWith;

namespace {

/// A session that holds the writer lease: write waits for its input, which does not come.
class Writer {
public:
  explicit Writer(const std::string& uri)
      : process_({"bash", "-c", "mkfifo \"$2\" && exec \"$0\" write \"$1\" 0 <> \"$2\"", pagectl_program(), uri,
                  fifo_.file("input")}) {}
  Process& process() { return process_; }

private:
  TempDir fifo_;
  Process process_;
};

}  // namespace

TEST_CASE("list shows every store with its size") {
  const Served served;
  const auto document = pagectl_json({"list", served.daemon->server_uri()});
  REQUIRE(document["stores"].size() == 1);
  CHECK(document["stores"][0]["store"] == "demo");
  CHECK(document["stores"][0]["pages"] == 4);
  CHECK(document["stores"][0]["size_bytes"] == 4 * page_bytes);
  // As people type it.
  const auto text = pagectl({"list", "127.0.0.1:" + std::to_string(served.daemon->port())});
  CHECK(text.status == 0);
  CHECK_THAT(text.out, StartsWith("STORE ") && Contains("\ndemo ") && Contains("4 pages") && Contains("256.0 KiB"));
  CHECK(pagectl({"list", "pageserver+unix:///?socket=" + served.daemon->socket_path()}).out == text.out);
  // For scripts the lines alone.
  CHECK_THAT(pagectl({"list", "-q", served.daemon->server_uri()}).out, StartsWith("demo "));
}

TEST_CASE("a list of many stores is complete and in order") {
  const Served served;
  for (int i = 100; i < 180; ++i) write_file(served.dir.file("stores/s" + std::to_string(i) + ".img"), "");
  const auto document = pagectl_json({"list", served.daemon->server_uri()});
  REQUIRE(document["stores"].size() == 81);
  CHECK(document["stores"][0]["store"] == "demo");
  CHECK(document["stores"][80]["store"] == "s179");
}

TEST_CASE("ping answers for a daemon that is there and fails for one that is not") {
  Served served;
  const auto server = served.daemon->server_uri();
  CHECK(pagectl({"ping", server}).status == 0);
  CHECK(pagectl({"ping", "pageserver+unix:///?socket=" + served.daemon->socket_path()}).status == 0);
  for (const auto& uri : {server + "/demo", "pageserver+unix:///demo?socket=" + served.daemon->socket_path()})
    CHECK_THAT(pagectl({"ping", uri}).out, StartsWith(uri + ": "));
  const auto document = pagectl_json({"ping", server});
  CHECK(document["round_trip_ms"] > 0);
  CHECK_THAT(document["server_name"].get<std::string>(), Contains("pageserverd"));
  CHECK(served.daemon->stop() == 0);
  const auto gone = pagectl({"ping", server});
  CHECK(gone.status == 1);
  CHECK_THAT(gone.err, Contains("refused"));
}

TEST_CASE("ping --wait waits for a daemon that is being started") {
  Served served;
  const std::string server = "pageserver+unix:///?socket=" + served.daemon->socket_path();
  CHECK(served.daemon->stop() == 0);
  Process ping({pagectl_program(), "ping", server, "--wait", "30000"});
  served.daemon->start_again();
  CHECK(ping.wait() == 0);
  CHECK(pagectl({"ping", "127.0.0.1:1", "--wait", "200"}).status == 1);
}

TEST_CASE("ping --wait gives a daemon that stands still no more time than was asked for") {
  Served served;
  served.daemon->process().pause();
  const auto server = "pageserver+unix:///?socket=" + served.daemon->socket_path();
  const auto stopped = pagectl({"ping", server, "--wait", "300"});
  CHECK(stopped.status == 1);
  // The text has the time that an attempt was given, and not what a loaded machine made of it.
  const auto at = stopped.err.find("no answer within ");
  INFO(stopped.err);
  REQUIRE(at != std::string::npos);
  CHECK(std::stoul(stopped.err.substr(at + 17)) <= 300);
  served.daemon->process().signal(SIGCONT);
  CHECK(pagectl({"ping", server, "--wait", "10000"}).status == 0);
}

TEST_CASE("a daemon that has no room for one more connection is to be tried again") {
  TempDir dir;
  write_file(dir.file("demo.img"), random_bytes(2, 1));
  write_file(dir.file("config.json"),
             R"({"limits": {"connections": 1, "peer_percent": 100, "size_bytes_max": "128KiB"}})");
  Daemon daemon({"--config", "{dir}/config.json", "--store", "demo={dir}/demo.img"}, &dir);
  const std::string uri = daemon.tcp_uri("demo");
  {
    Writer writer(uri);
    daemon.wait_for_log("session open");
    for (const auto& words :
         std::vector<std::vector<std::string>>{{"read", uri, "0", "1"},
                                               {"read", daemon.server_uri() + "/demo?cache_bytes=1MiB", "0", "1"},
                                               {"faults", uri},
                                               {"list", daemon.server_uri()},
                                               {"sessions", daemon.server_uri()}}) {
      const auto refused = pagectl(words);
      INFO(words[0] << ": " << refused.err);
      CHECK(refused.status == 75);
      CHECK_THAT(refused.err, Contains("try again later"));
    }
    // "No answer" is the answer of ping.
    CHECK(pagectl({"ping", daemon.server_uri()}).status == 1);
  }
  // What is too much at any time is no matter of trying again.
  const auto loop =
      "until " + pagectl_program() + " grow '" + uri + "' 1; do status=$?; [ $status = 75 ] || exit $status; done";
  const auto grown = run({"bash", "-c", loop});
  INFO(grown.err);
  CHECK(grown.status == 1);
  CHECK_THAT(grown.err, Contains("size_bytes_max=131072"));
}

TEST_CASE("a store is created, used and removed") {
  const Served served;
  for (const auto& uri : served.uris("fresh")) {
    CHECK(pagectl_json({"create", uri, "--pages", "2"})["pages"] == 2);
    CHECK(pagectl({"create", uri}).status == 1);
    CHECK(pagectl({"write", uri, "100"}, "hello").status == 0);
    CHECK(pagectl({"read", uri, "98", "8"}).out == std::string("\0\0hello\0", 8));
    CHECK(std::filesystem::file_size(served.dir.file("stores/fresh.img")) == 2 * page_bytes);
    CHECK(pagectl({"remove", uri}).status == 0);
    CHECK_FALSE(std::filesystem::exists(served.dir.file("stores/fresh.img")));
    const auto gone = pagectl({"info", uri});
    CHECK(gone.status == 1);
    CHECK_THAT(gone.err, Contains("fresh"));
  }
  CHECK(pagectl({"remove", served.daemon->tcp_uri("demo")}).status == 1);
  CHECK(std::filesystem::exists(served.dir.file("demo.img")));
}

TEST_CASE("read, write, grow, hash and diff work on a store as on a file") {
  Served served(20);
  auto expected = random_bytes(20, 1);
  for (const auto& uri : served.uris("demo")) {
    CHECK((pagectl({"read", uri, "1000", "1200000"}).out == expected.substr(1000, 1'200'000)));
    CHECK(pagectl({"diff", uri, served.daemon->tcp_uri("demo")}).status == 0);
    const auto data = random_bytes(17, expected.size());
    CHECK(pagectl_json({"write", uri, "77777"}, data)["bytes"] == data.size());
    expected.replace(77'777, data.size(), data);
    CHECK(pagectl_json({"grow", uri, "2"})["previous_pages"] == expected.size() / page_bytes);
    expected += std::string(2 * page_bytes, '\0');
    write_file(served.dir.file("expected.img"), expected);
    CHECK(pagectl({"hash", uri}).out == pagectl({"hash", served.dir.file("expected.img")}).out);
    CHECK(pagectl({"diff", uri, served.dir.file("expected.img")}).status == 0);
    patch_file(served.dir.file("expected.img"), 5 * page_bytes, "?????????");
    CHECK(pagectl({"diff", served.dir.file("expected.img"), uri}).out == "page 5\n");
    const auto past = pagectl({"read", uri, std::to_string(expected.size()), "1"});
    CHECK(past.status == 1);
    CHECK(past.out.empty());
  }
  CHECK(served.daemon->stop() == 0);
  CHECK((read_file(served.dir.file("demo.img")) == expected));
}

TEST_CASE("info and lease show the writer, and a broken lease ends it") {
  const Served served;
  const auto uri = served.daemon->tcp_uri("demo");
  const auto idle = pagectl_json({"info", uri});
  CHECK(idle["store"] == "demo");
  CHECK(idle["pages"] == 4);
  CHECK(idle["size_bytes"] == 4 * page_bytes);
  CHECK(idle["version"]["incarnation"].get<std::string>().size() == 16);
  CHECK(idle["writer"].is_null());
  CHECK(idle["sessions"]["live"] == 1);
  CHECK(pagectl_json({"lease", uri})["writer"].is_null());
  CHECK(pagectl({"lease", uri, "--break"}).out == "nothing to break\nwriter: none\n");

  Writer writer(served.daemon->tcp_uri("demo", "name=the%20other"));
  served.daemon->wait_for_log("the other");
  const auto info = pagectl_json({"info", uri});
  CHECK(info["writer"]["name"] == "the other");
  CHECK_THAT(info["writer"]["address"].get<std::string>(), Contains("127.0.0.1:"));
  CHECK_THAT(info["writer"]["since"].get<std::string>(), Catch::Matchers::Matches("20..-..-..T..:..:..Z"));
  CHECK(info["sessions"]["write"] == 1);
  CHECK_THAT(pagectl({"info", uri}).out, Contains("the other at 127.0.0.1:"));
  for (const char* key : {"writers_waiting", "oldest_holder", "log_bytes", "checkpoint_lag_bytes", "held_bytes",
                          "fork_bytes", "last_sync_error", "image_warning"})
    CHECK(info.contains(key));
  CHECK(info["writers_waiting"] == 0);
  CHECK(info["log_bytes"].get<std::uint64_t>() >= info["checkpoint_lag_bytes"].get<std::uint64_t>());
  CHECK(info["last_sync_error"].is_null());
  for (const char* key : {"live", "pinned", "write", "fork"}) CHECK(info["sessions"].contains(key));

  const auto busy = pagectl({"write", uri, "0"}, "x");
  CHECK(busy.status == 75);
  CHECK_THAT(busy.err, Contains("the other"));

  const auto broken = pagectl_json({"lease", uri, "--break"});
  CHECK(broken["broken"]["name"] == "the other");
  CHECK(broken["writer"].is_null());
  CHECK(pagectl({"write", uri, "0"}, "x").status == 0);
}

TEST_CASE("sessions shows who uses a daemon, and kick ends one") {
  const Served served;
  const std::string server = served.daemon->server_uri();
  CHECK(pagectl({"create", served.daemon->tcp_uri("fresh")}).status == 0);
  Writer writer(served.daemon->tcp_uri("demo", "name=the%20other"));
  served.daemon->wait_for_log("the other");
  const auto report = pagectl_json({"sessions", server});
  CHECK(report["sessions"].size() == 2);
  const auto& other = report["sessions"][0];
  CHECK(other["name"] == "the other");
  CHECK(other["store"] == "demo");
  CHECK(other["state"] == "session");
  CHECK(other["has_lease"] == true);
  CHECK(other["access"] == "write");
  CHECK(other["place_in_line"].is_null());
  CHECK_THAT(other["client"].get<std::string>(), Contains("pagectl"));
  const auto& own = report["sessions"][1];
  CHECK(own["connection"] == report["own_connection"]);
  CHECK(own["session"].is_null());
  CHECK_FALSE(own.contains("store"));
  const std::string session = std::to_string(other["session"].get<int>());

  CHECK(pagectl_json({"sessions", server, "--store", "fresh"})["sessions"].empty());
  const auto text = pagectl({"sessions", server, "--store", "demo"}).out;
  CHECK_THAT(text, StartsWith("SESSION") && Contains("\n" + session + " ") && Contains("the other at 127.0.0.1:") &&
                       Contains("has the lease"));
  // Over a Unix socket the kernel says who it is.
  const auto local = pagectl_json({"sessions", "pageserver+unix:///?socket=" + served.daemon->socket_path()});
  CHECK(local["sessions"].back()["uid"] == ::getuid());

  const auto kicked = pagectl({"kick", server, session, "--reason", "it is in the way"});
  CHECK(kicked.status == 0);
  CHECK_THAT(kicked.err + kicked.out, Contains("ended session " + session + " on demo (the other at "));
  served.daemon->wait_for_log(" INFO session kicked session=" + session + " ");
  CHECK(pagectl({"write", served.daemon->tcp_uri("demo"), "0"}, "x").status == 0);
  const auto again = pagectl({"kick", server, session});
  CHECK(again.status == 1);
  CHECK_THAT(again.err, Contains("there is no session " + session));
  CHECK(pagectl({"kick", server, "1", "--reason", "two\nlines"}).status != 0);
  for (const char* const number : {"abc", "1KiB", "-1"}) {
    const auto wrong = pagectl({"kick", server, "--", number});
    CHECK(wrong.status == 2);
    CHECK_THAT(wrong.err, Contains("is no whole number: expected one such as 41"));
  }
  CHECK(pagectl({"sessions", server, "--store", "../up"}).status != 0);
}

TEST_CASE("ping --store and --all ask several stores of a daemon, and say which of them fail") {
  const Daemon daemon({"--store", "one={dir}/one.img", "--store", "two={dir}/two.img"});
  const std::string server = daemon.server_uri();
  const auto all = pagectl_json({"ping", server, "--all"});
  REQUIRE(all["stores"].size() == 2);
  CHECK(all["stores"][0]["store"] == "one");
  CHECK(all["stores"][1]["store"] == "two");
  CHECK(pagectl_json({"ping", server, "--store", "two", "--store", "one"})["stores"].size() == 2);
  const auto missing = pagectl({"ping", server, "--store", "one", "--store", "nobody", "--store", "noone"});
  CHECK(missing.status == 1);
  CHECK(missing.err.find("2 of 3 stores failed") != std::string::npos);
  CHECK(missing.err.find("nobody") != std::string::npos);
  CHECK(missing.err.find("noone") != std::string::npos);
  CHECK(pagectl({"ping", server, "--all", "--store", "one"}).status == 2);
  CHECK(pagectl({"ping", daemon.tcp_uri("one"), "--all"}).status != 0);
}

TEST_CASE(
    "a store that is only asked how it is, again and again, is closed in its time, and hides no session that ended") {
  TempDir folder;
  std::ofstream(folder.file("c.json")) << R"({"directory": {"path": ")" << folder.path().string()
                                       << R"(", "create": true, "linger": "500ms"}, "metrics": {"listen": "unix:)"
                                       << folder.file("metrics") << R"("}})";
  const Daemon daemon({"--config", folder.file("c.json")});
  const std::string server = daemon.server_uri();
  REQUIRE(pagectl({"create", daemon.tcp_uri("one"), "--pages", "1"}).status == 0);
  REQUIRE(pagectl({"write", daemon.tcp_uri("one"), "0"}, "x").status == 0);
  std::size_t asked = 0;
  wait_until([&] {
    const auto stores = pagectl_json({"ping", server, "--all"})["stores"];
    asked += stores.size();
    return stores.empty();
  });
  // Each of them came before the time that the one before would have begun anew.
  CHECK(asked >= 2);
  // Who reads it has it open for as long as before, counted from there.
  REQUIRE(pagectl({"read", daemon.tcp_uri("one"), "0", "2"}).out == std::string("x\0", 2));
  CHECK(pagectl_json({"ping", server, "--all"})["stores"].size() == 1);
  const auto page = http_get(RawClient::local(folder.file("metrics")), "/").body;
  const auto ended = page.substr(page.find("Sessions that ended last"));
  const auto count = [&](const std::string& part) {
    std::size_t found = 0;
    for (auto at = ended.find(part); at != std::string::npos; at = ended.find(part, at + 1)) ++found;
    return found;
  };
  INFO(ended);
  CHECK(count("<td>closed by the client</td>") == 2);
}

TEST_CASE("ping of a store asks the store") {
  const Served served;
  for (const auto& uri : served.uris("demo")) {
    CHECK(pagectl({"ping", uri}).status == 0);
    const auto report = pagectl_json({"ping", uri});
    CHECK(report["store"] == "demo");
    CHECK(report["round_trip_ms"].get<double>() > 0);
    CHECK(report["load"]["store_calls_stuck"] == 0);
    CHECK(report["load"]["connections"].get<int>() >= 1);
  }
  const auto missing = pagectl({"ping", served.daemon->tcp_uri("nobody")});
  CHECK(missing.status == 1);
  CHECK_THAT(missing.err, Contains("nobody"));
  CHECK(pagectl({"ping", "file:" + served.dir.file("demo.img")}).status != 0);
  // A pin and a writer are no reason to be unwell.
  Writer writer(served.daemon->tcp_uri("demo"));
  CHECK(pagectl({"ping", served.daemon->tcp_uri("demo")}).status == 0);
  const auto info = pagectl_json({"info", served.daemon->tcp_uri("demo")});
  CHECK(info["load"]["store_calls_stuck"] == 0);
  CHECK_THAT(pagectl({"info", served.daemon->tcp_uri("demo")}).out, Contains("none is stuck"));
}

TEST_CASE("a lease is broken through a URI with a cache too") {
  const std::string query = GENERATE("cache_bytes=1MiB", "access=read&view=pinned&cache_bytes=1MiB");
  const Served served;
  Writer writer(served.daemon->tcp_uri("demo", "name=the%20other"));
  served.daemon->wait_for_log("the other");
  const auto broken = pagectl_json({"lease", served.daemon->tcp_uri("demo", query), "--break"});
  CHECK(broken["broken"]["name"] == "the other");
  CHECK(broken["writer"].is_null());
}

TEST_CASE("a session of the tool is named after the command") {
  const Served served;
  CHECK(pagectl({"hash", served.daemon->tcp_uri("demo")}).status == 0);
  served.daemon->wait_for_log("pagectl hash");
}

TEST_CASE("bench measures a store, with many requests in flight") {
  Served served;
  for (const auto& uri : served.uris("demo")) {
    const auto report = pagectl_json({"bench", uri, "--size", "8,64KiB", "--depth", "1,32", "--count", "300"});
    REQUIRE(report["runs"].size() == 4);
    for (const auto& run : report["runs"]) CHECK(run["requests"] == 300);
  }
  CHECK((read_file(served.dir.file("demo.img")) == random_bytes(4, 1)));
  CHECK(pagectl({"bench", served.daemon->tcp_uri("demo"), "--write", "50", "--count", "200", "--depth", "8"}).status ==
        0);
  CHECK(served.daemon->stop() == 0);
  CHECK((read_file(served.dir.file("demo.img")) != random_bytes(4, 1)));
}

TEST_CASE("a daemon that goes away in the middle is an error that names it") {
  Served served(64);
  StallingProxy proxy(served.daemon->port(), 1'000'000);
  Process hash({pagectl_program(), "hash", "pageserver://127.0.0.1:" + std::to_string(proxy.port()) + "/demo"});
  proxy.wait_until_stalled();
  proxy.cut();
  CHECK(hash.wait() == 75);
  CHECK_THAT(hash.err_so_far(), Contains("demo"));
  CHECK(hash.out_so_far().empty());
}

TEST_CASE("what a killed daemon left is found by check and replayed by recover") {
  Served served;
  REQUIRE(pagectl({"write", served.daemon->tcp_uri("demo"), "70000"}, "written before the kill").status == 0);
  const auto image = served.dir.file("demo.img");
  const auto in_use = pagectl({"check", image});
  CHECK(in_use.status == 1);
  CHECK(pagectl({"recover", image}).status == 75);
  served.daemon->kill_hard();

  const auto checked = pagectl({"check", image, "--json"});
  CHECK(checked.status == 1);
  const auto document = nlohmann::json::parse(checked.out);
  CHECK(document["ok"] == false);
  CHECK(document["log_found"] == true);
  CHECK(document["records"] == 1);
  CHECK(pagectl({"read", image, "70000", "7"}).status == 1);
  std::string line = pagectl({"check", image, "--progress", "json"}).err;
  line.resize(std::min(line.find('\n'), line.size()));
  CHECK(nlohmann::json::parse(line)["progress"] == "check: looking at the log");

  const auto told = pagectl({"recover", image, "--json", "--progress", "json"});
  CHECK_THAT(told.err, Contains(R"({"progress":"recover: reading the log","unit":"bytes","done":0,"total":)") &&
                           Contains(R"({"progress":"recover: copying","unit":"bytes",)"));
  // Of a part that is over nothing is left, though the log's file is larger than what was written to it.
  std::size_t ended = 0;
  for (std::istringstream lines(told.err); std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line);
    if (object["over"] == false || !object.contains("done")) continue;
    ++ended;
    INFO(line);
    CHECK(object["done"] > 0);
    CHECK(object["done"] == object["total"]);
    CHECK(object["seconds_left"] == 0);
  }
  CHECK(ended == 2);
  const auto recovered = nlohmann::json::parse(told.out);
  CHECK(recovered["recovered"] == true);
  CHECK(recovered["records"] == 1);
  auto expected = random_bytes(4, 1);
  expected.replace(70'000, 23, "written before the kill");
  CHECK((read_file(image) == expected));
  CHECK(pagectl_json({"check", image})["ok"] == true);
  CHECK(pagectl_json({"recover", image})["recovered"] == false);
}

TEST_CASE("a store in the tool's own process says that it replays a log before it is read") {
  Served served;
  REQUIRE(pagectl({"write", served.daemon->tcp_uri("demo"), "70000"}, "written before the kill").status == 0);
  served.daemon->kill_hard();
  const std::vector<std::string> hash{"hash", "store:" + served.dir.file("demo.img"), "--progress", "json"};
  const auto told = pagectl(hash);
  CHECK(told.status == 0);
  CHECK_THAT(told.err, StartsWith(R"({"progress":"open: replaying the log",)"));
  CHECK_THAT(pagectl(hash).err, !Contains("replaying"));
}

TEST_CASE("an image and its log that were moved together are recovered only when told to") {
  Served served;
  REQUIRE(pagectl({"write", served.daemon->tcp_uri("demo"), "70000"}, "written before the kill").status == 0);
  served.daemon->kill_hard();
  std::filesystem::create_directory(served.dir.path() / "moved");
  for (const auto& name : names_in(served.dir.path())) {
    if (name.starts_with("demo.img")) {
      std::filesystem::copy_file(served.dir.file(name), served.dir.file("moved/" + name));
    }
  }
  const auto image = served.dir.file("moved/demo.img");
  const auto refused = pagectl({"recover", image});
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("--adopt"));
  CHECK((read_file(image) == random_bytes(4, 1)));
  CHECK(pagectl_json({"recover", image, "--adopt"})["recovered"] == true);
  CHECK(read_file(image).substr(70'000, 7) == "written");
}

TEST_CASE("a store is inspected in one version while somebody writes to it") {
  Served served;
  const std::string start = served.dir.file("start.img");
  unpack("small_crud.img", start);
  for (const auto& uri : served.uris("books")) {
    if (uri == served.daemon->tcp_uri("books")) REQUIRE(pagectl({"create", uri}).status == 0);
    REQUIRE(pagectl({"copy", "-q", "--force", start, uri}).status == 0);
    auto ours = pagectl_json({"inspect", uri});
    auto theirs = pagectl_json({"inspect", start});
    CHECK(ours["consistent"] == true);
    CHECK(ours["version"].is_object());
    for (const char* key : {"uri", "version"}) {
      ours.erase(key);
      theirs.erase(key);
    }
    CHECK(ours == theirs);
    CHECK(pagectl({"verify", uri}).status == 0);
    CHECK(pagectl({"diff", "--layout", start, uri}).status == 0);
  }
  const std::string uri = served.daemon->tcp_uri("books");
  Process writer({pagectl_program(), "replay", "-q", engine_fixture("reopen.wdtr.zst"), uri});
  int looks = 0;
  do {
    const auto document = pagectl_json({"inspect", uri});
    CHECK(document["consistent"] == true);
    CHECK(document["layout"] == "wasm-dbms-0.10");
    CHECK(document["tables"].size() == 2);
    ++looks;
  } while (writer.running());
  CHECK(looks > 0);
  CHECK(writer.wait() == 0);
  CHECK(pagectl({"verify", uri}).status == 0);
}
