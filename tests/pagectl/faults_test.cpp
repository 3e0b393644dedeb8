// Faults on order from the command line: faults, run, and the recipes of docs/testing-with-pageserver.md.
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/unique_fd.hpp"
#include "tests/pagectl/tool.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver::test;
using nlohmann::json;

namespace {

struct Faulty : Daemon {
  Faulty() : Daemon({"--store", "demo={dir}/demo.img", "--allow-faults"}) {
    expect_complaint("faults can be ordered");
    expect_complaint("fault on order");
  }
};

std::string write_text(const TempDir& dir, const std::string& name, const std::string& text) {
  write_file(dir.file(name), text);
  return dir.file(name);
}

/// `pagectl run` with what a test gives it behind the daemon of this build.
RunResult run_with(std::vector<std::string> words) {
  words.insert(words.begin(), {"run", "--daemon", pageserverd_path()});
  return pagectl(words);
}

struct Recipe {
  std::string name, orders, script;
};

std::vector<Recipe> recipes() {
  std::ifstream page(PAGESERVER_SOURCE_DIR "/docs/testing-with-pageserver.md");
  std::vector<Recipe> found;
  std::string* block = nullptr;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("### ")) found.push_back({line.substr(4), "", ""});
    if (line == "```") block = nullptr;
    if (block != nullptr) *block += line + "\n";
    if (line == "```faults") block = &found.at(found.size() - 1).orders;
    if (line == "```sh") block = &found.at(found.size() - 1).script;
  }
  return found;
}

/// Scripts find pagectl by its name.
void put_into_path() {
  const std::string folder = std::filesystem::path(pagectl_path()).parent_path().string();
  const char* const before = std::getenv("PATH");
  ::setenv("PATH", (folder + ":" + (before == nullptr ? "" : before)).c_str(), 1);
}

}  // namespace

TEST_CASE("faults: orders for a store are added, listed with what they struck, and cleared") {
  Faulty daemon;
  const std::string uri = daemon.unix_uri("demo");
  CHECK_THAT(pagectl({"faults", uri}).out, Contains("nothing is ordered"));
  REQUIRE(pagectl({"faults", uri, "--add", "grow:2:no_space", "--add", "read:hang"}).status == 0);
  CHECK(pagectl({"grow", uri, "1"}).status == 0);
  const RunResult refused = pagectl({"grow", uri, "1"});
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("a fault on order (grow:2:no_space)"));
  const json listed = json::parse(pagectl({"faults", uri, "--json"}).out);
  CHECK(listed["faults"][0] == json({{"order", "grow:2:no_space"}, {"seen", 2}, {"struck", 1}}));
  CHECK(listed["faults"][1]["struck"] == 0);
  CHECK_THAT(pagectl({"faults", uri, "--clear"}).out,
             Contains("grow:2:no_space: struck 1 of 2 requests") && Contains("cleared"));
  CHECK(json::parse(pagectl({"faults", uri, "--json"}).out)["faults"].empty());
  const RunResult wrong = pagectl({"faults", uri, "--add", "grow:boom"});
  CHECK(wrong.status == 2);
  CHECK_THAT(wrong.err, Contains("at byte 5: \"boom\"") && Contains("cut=before"));
  CHECK_THAT(pagectl({"faults", "store:x"}).err, Contains("only a daemon"));
}

TEST_CASE("faults: a daemon that was not started for it says how it is") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  const RunResult refused = pagectl({"faults", daemon.unix_uri("demo")});
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("--allow-faults"));
}

TEST_CASE("run: a command has a daemon of its own, with a copy of the image, and its status is the tool's") {
  TempDir dir;
  const std::string image = dir.file("start.img");
  REQUIRE(pagectl({"create", image, "--pages", "3"}).status == 0);
  const std::string script = write_text(
      dir, "test.sh", "set -e\n\"$1\" grow \"$PAGESERVER_URI\" 2\n\"$1\" info \"$PAGESERVER_URI\"\nexit $2\n");
  const RunResult good = run_with({"--image", image, "--", "sh", script, pagectl_path(), "0"});
  INFO(good.err);
  CHECK(good.status == 0);
  CHECK_THAT(good.out, Contains("5"));
  CHECK(run_with({"--image", image, "--", "sh", script, pagectl_path(), "42"}).status == 42);
  CHECK(run_with({"--", "sh", "-c", "kill -9 $$"}).status == 128 + 9);
  CHECK(std::filesystem::file_size(image) == 3 * 65536);
  CHECK(run_with({"--", "/nowhere/none"}).status == 127);
  CHECK(run_with({"--", dir.file("start.img")}).status == 126);
  CHECK(pagectl({"run", "--daemon", "/nowhere/none", "--", "true"}).status == 125);
  CHECK(run_with({"--image", dir.file("none.img"), "--", "true"}).status == 125);
}

TEST_CASE("run: an order that never struck has a status of its own, and is named") {
  TempDir dir;
  const std::string orders = write_text(dir, "orders", "grow:no_space\nread:3:hang # never\n");
  const std::string script = write_text(dir, "test.sh", "\"$1\" grow \"$PAGESERVER_URI\" 2\ntest $? = 1 && exit $2\n");
  const RunResult never = run_with({"--faults", orders, "--", "sh", script, pagectl_path(), "0"});
  CHECK(never.status == 124);
  CHECK_THAT(never.err, Contains("grow:no_space: struck 1 of 1 request") && Contains("read:3:hang: struck 0 of 0"));
  CHECK(run_with({"--faults", orders, "--", "sh", script, pagectl_path(), "7"}).status == 7);
  const RunResult document = run_with({"--json", "--faults", orders, "--", "sh", script, pagectl_path(), "0"});
  CHECK(document.status == 124);
  const json found = json::parse(document.out);
  CHECK(found["all_struck"] == false);
  CHECK(found["command_status"] == 0);
  CHECK(found["faults"][0]["struck"] == 1);
  CHECK(found["faults"][1]["struck"] == 0);
  const RunResult wrong = run_with({"--faults", write_text(dir, "wrong", "grow:no_space\nboom"), "--", "true"});
  CHECK(wrong.status == 2);
  CHECK_THAT(wrong.err, Contains("at byte 14: \"boom\""));
}

TEST_CASE("run: what struck before a daemon was ended on order is known, and so is what did not") {
  TempDir dir;
  const std::string image = dir.file("start.img");
  REQUIRE(pagectl({"create", image, "--pages", "1"}).status == 0);
  const std::string script = write_text(dir, "test.sh", "echo new | \"$1\" write \"$PAGESERVER_URI$2\" 0 >&2\ntrue\n");
  const auto run = [&](const std::string& orders, const std::string& query) {
    std::vector<std::string> words{"--json", "--image", image};
    if (!orders.empty()) words.insert(words.end(), {"--faults", write_text(dir, "orders", orders)});
    words.insert(words.end(), {"--", "sh", script, pagectl_path(), query});
    return run_with(words);
  };
  for (const char* ending : {"write:kill=before", "write:kill=inside", "write:kill=after", "write:stop"}) {
    INFO(ending);
    const RunResult alone = run(ending, "");
    INFO(alone.err);
    CHECK(alone.status == 0);
    CHECK(json::parse(alone.out)["faults"][0]["ended_the_daemon"] == true);
    const RunResult beside = run(std::string(ending) + "\nwrite:delay=1ms\nwrite:2:hang\nstat:kill=after\n", "");
    CHECK(beside.status == 124);
    const json found = json::parse(beside.out);
    CHECK(found["all_struck"] == false);
    CHECK(found["faults"][0]["ended_the_daemon"] == true);
    CHECK(found["faults"][1]["struck"] == 1);
    CHECK(found["faults"][2] ==
          json({{"order", "write:2:hang"}, {"seen", 1}, {"struck", 0}, {"ended_the_daemon", false}}));
    CHECK(found["faults"][3]["struck"] == 0);
    CHECK(found["faults"][3]["ended_the_daemon"] == false);
    // The command may have ordered it for its own session.
    const RunResult own = run("", std::string("&faults=") + ending);
    INFO(own.err);
    CHECK(own.status == 0);
  }
  // A flush of nothing writes no record, so that nothing is killed.
  const RunResult nothing =
      run_with({"--json", "--image", image, "--faults", write_text(dir, "orders", "flush:kill=inside"), "--", "sh",
                "-c", ": | \"$0\" write \"$PAGESERVER_URI\" 0 >&2", pagectl_path()});
  CHECK(nothing.status == 124);
  CHECK(json::parse(nothing.out)["faults"][0]["seen"] == 1);
  CHECK(json::parse(nothing.out)["faults"][0]["struck"] == 0);
}

TEST_CASE("run: what the tool itself does with the daemon is not struck, nor counted") {
  TempDir dir;
  for (const char* order : {"close:cut=before", "close:kill=before", "any:hang"}) {
    INFO(order);
    const RunResult result = run_with({"--json", "--faults", write_text(dir, "orders", order), "--", "true"});
    CHECK(result.status == 124);
    CHECK(json::parse(result.out)["faults"][0]["seen"] == 0);
  }
}

TEST_CASE("run: the URI is right wherever the daemon's socket lies") {
  TempDir dir;
  const std::string place = dir.file("a b&c%41#?");
  std::filesystem::create_directory(place);
  const RunResult result =
      pageserver::test::run({"env", "TMPDIR=" + place, pagectl_path(), "run", "--daemon", pageserverd_path(), "--",
                             "sh", "-c", "\"$0\" info \"$PAGESERVER_URI&name=a\"", pagectl_path()});
  INFO(result.err);
  CHECK(result.status == 0);
}

TEST_CASE("run: a folder for temporary files whose path is too long for a socket is refused with the remedy") {
  TempDir dir;
  const std::string place = dir.file(std::string(100, 'x'));
  std::filesystem::create_directory(place);
  const RunResult result = pageserver::test::run(
      {"env", "TMPDIR=" + place, pagectl_path(), "run", "--daemon", pageserverd_path(), "--", "true"});
  CHECK(result.status == 2);
  CHECK_THAT(result.err, Contains("at most 107") && Contains("TMPDIR"));
  CHECK(std::filesystem::is_empty(place));
}

TEST_CASE("run: words of the command behind -- are its own") {
  const RunResult result = run_with({"--", "sh", "-c", "printf '[%s]' \"$@\"", "sh", "", "-", "--json", "--"});
  CHECK(result.status == 0);
  CHECK(result.out == "[][-][--json][--]");
}

TEST_CASE("run: a daemon that does not answer at the end is no reason to wait for it") {
  TempDir dir;
  const std::string script =
      write_text(dir, "test.sh",
                 "for process in /proc/[0-9]*; do\n"
                 "  case $(tr '\\0' ' ' <$process/cmdline 2>/dev/null) in\n"
                 "    *--allow-faults*${PAGESERVER_URI#*socket=}*) kill -STOP ${process#/proc/} ;;\n"
                 "  esac\n"
                 "done\n");
  const RunResult result = run_with({"--faults", write_text(dir, "orders", "read:hang"), "--", "sh", script});
  CHECK(result.status == 125);
  CHECK_THAT(result.err, Contains("does not answer"));
}

TEST_CASE("run: a service manager hears nothing of its daemon") {
  TempDir dir;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = dir.file("notify");
  REQUIRE(path.size() < sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  const pageserver::UniqueFd manager{::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  REQUIRE(::bind(manager.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  const RunResult result = run_with({"--", "sh", "-c", "echo $NOTIFY_SOCKET"});
  ::unsetenv("NOTIFY_SOCKET");
  INFO(result.err);
  CHECK(result.status == 0);
  CHECK(result.out == path + "\n");  // the command's is as it was
  char said = 0;
  CHECK(::recv(manager.get(), &said, 1, 0) < 0);
  CHECK(errno == EAGAIN);
}

TEST_CASE("run: each recipe of the document does what it says") {
  put_into_path();
  const std::vector<Recipe> all = recipes();
  CHECK(all.size() >= 7);
  for (const Recipe& recipe : all) {
    INFO(recipe.name);
    TempDir dir;
    const std::string image = dir.file("start.img");
    REQUIRE(pagectl({"create", image, "--pages", "4"}).status == 0);
    const RunResult result = run_with({"--image", image, "--faults", write_text(dir, "orders", recipe.orders), "--",
                                       "sh", write_text(dir, "script", recipe.script)});
    INFO(result.out << result.err);
    CHECK(result.status == 0);
  }
}
