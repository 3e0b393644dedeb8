// How the daemon starts, and how it says why it does not.
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include "tests/support/catch.hpp"

#include "base/text.hpp"
#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

RunResult daemon_with(std::vector<std::string> flags) {
  flags.insert(flags.begin(), pageserverd_path());
  return run(std::move(flags));
}

std::string write_file(const TempDir& dir, const std::string& name, const std::string& text) {
  std::ofstream(dir.file(name)) << text;
  return dir.file(name);
}

}  // namespace

TEST_CASE("the port file lists every TCP listener with its real port, in the order given") {
  Daemon daemon({"--listen", "[::1]:0", "--store", "demo={dir}/demo.img"});
  REQUIRE(daemon.listeners().size() == 2);
  CHECK(daemon.listeners()[0] == "127.0.0.1:" + std::to_string(daemon.port()));
  CHECK(daemon.listeners()[1].starts_with("[::1]:"));
  daemon.wait_for_log(daemon.listeners()[1]);
  CHECK(daemon.stop() == 0);
  CHECK_FALSE(std::filesystem::exists(daemon.file("port")));
}

TEST_CASE("the start line has version, stores with pages, and listeners") {
  TempDir dir;
  std::ofstream(dir.file("a.img")).flush();
  std::filesystem::resize_file(dir.file("a.img"), 3 * 65536);
  Daemon daemon({"--store", "a={dir}/a.img", "--store", "b={dir}/b.img"}, &dir);
  daemon.wait_for_log(" INFO start version=");
  daemon.wait_for_log("stores=a:3pages,b:0pages");
  daemon.wait_for_log("unix:" + daemon.socket_path());
}

TEST_CASE("TCP over IPv4 and IPv6 and a Unix socket serve the same store at once") {
  Daemon daemon({"--listen", "[::1]:0", "--store", "demo={dir}/demo.img"});
  RawClient writer = session_on(daemon, "demo");
  writer.grow(1);
  const auto data = pattern(100, 1);
  writer.write(5, data);
  RawClient local = RawClient::local(daemon.socket_path());
  local.hello();
  local.open("demo", proto::Access::read);
  CHECK(local.read(5, 100) == data);
  const std::string v6 = daemon.listeners()[1];
  RawClient six = RawClient::tcp6(static_cast<std::uint16_t>(std::stoul(v6.substr(v6.rfind(':') + 1))));
  six.hello();
  six.open("demo", proto::Access::read);
  CHECK(six.read(5, 100) == data);
}

TEST_CASE("a Unix socket has its mode and is removed at the stop") {
  TempDir dir;
  const std::string config = write_file(dir, "c.json",
                                        R"({"unix": [{"path": ")" + dir.file("own.sock") +
                                            R"(", "mode": "0600"}], "stores": [{"name": "demo", "path": ")" +
                                            dir.file("d.img") + R"(", "mode": "0604"}]})");
  Process daemon({pageserverd_path(), "--config", config});
  daemon.wait_for_err(" INFO start ");
  struct stat status {};
  REQUIRE(::stat(dir.file("own.sock").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  REQUIRE(::stat(dir.file("d.img").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0604);
  RawClient client = RawClient::local(dir.file("own.sock"));
  client.hello();
  client.close();
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
  CHECK_FALSE(std::filesystem::exists(dir.file("own.sock")));
}

TEST_CASE("a socket file that a killed daemon left behind is replaced, one that is answered on is not") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  const auto second = daemon_with({"--unix", daemon.socket_path(), "--store", "x=" + daemon.file("x.img")});
  CHECK(second.status == 1);
  CHECK(second.err.find("listen on unix:" + daemon.socket_path() + ": another server is listening there") !=
        std::string::npos);
  daemon.kill_hard();
  CHECK(std::filesystem::exists(daemon.socket_path()));
  daemon.start_again();
  RawClient client = RawClient::local(daemon.socket_path());
  client.hello();
}

TEST_CASE("a file that is no socket is never replaced by one") {
  const TempDir dir;
  write_file(dir, "precious", "text");
  const auto result = daemon_with({"--unix", dir.file("precious"), "--store", "x=" + dir.file("x.img")});
  CHECK(result.status == 1);
  CHECK(result.err.find("something that is not a socket is in the place") != std::string::npos);
  CHECK(std::filesystem::file_size(dir.file("precious")) == 4);
}

TEST_CASE("an address in use is named, and nothing is left behind") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port());
  const auto second = daemon_with({"--listen", address, "--store", "x=" + daemon.file("x.img"), "--port-file",
                                   daemon.file("port2"), "--unix", daemon.file("s2")});
  CHECK(second.status == 1);
  CHECK(second.err.find("listen on " + address + ": the address is in use by another program") != std::string::npos);
  CHECK(count_of(second.err, "\n") == 1);
  CHECK_FALSE(std::filesystem::exists(daemon.file("port2")));
  CHECK_FALSE(std::filesystem::exists(daemon.file("s2")));
}

TEST_CASE("an image that another daemon has open is refused, and its holder is named") {
  Daemon daemon({"--store", "demo={dir}/demo.img"});
  const auto second = daemon_with({"--listen", "127.0.0.1:0", "--store", "other=" + daemon.file("demo.img")});
  CHECK(second.status == 1);
  CHECK(second.err.find("store \\\"other\\\": ") != std::string::npos);
  CHECK(second.err.find(std::to_string(daemon.pid())) != std::string::npos);
  CHECK(count_of(second.err, "\n") == 1);
}

TEST_CASE("a file that is no image stops the start with its size") {
  const TempDir dir;
  write_file(dir, "x.img", "seven b");
  const auto result = daemon_with({"--listen", "127.0.0.1:0", "--store", "x=" + dir.file("x.img")});
  CHECK(result.status == 1);
  CHECK(result.err.find("7") != std::string::npos);
  CHECK(result.err.find(dir.file("x.img")) != std::string::npos);
  CHECK(std::filesystem::file_size(dir.file("x.img")) == 7);
}

TEST_CASE("a directory that does not exist stops the start with what to do") {
  const TempDir dir;
  const auto result = daemon_with({"--listen", "127.0.0.1:0", "--directory", dir.file("missing")});
  CHECK(result.status == 1);
  CHECK(result.err.find("it does not exist; create it first: mkdir -p") != std::string::npos);
}

TEST_CASE("usage errors end with status 2 and say what is wrong") {
  const std::vector<std::vector<std::string>> wrong = {
      {"--nonsense"},          {"positional"},           {"--store", "x"},          {"--listen", "example.org:1"},
      {"--log-format", "xml"}, {"--log-level", "quiet"}, {"--store", "a/b=/tmp/x"}, {"--port-file"}};
  for (const auto& flags : wrong) {
    const auto result = daemon_with(flags);
    INFO(flags[0]);
    CHECK(result.status == 2);
    CHECK(result.err.find("pageserverd: ") == 0);
  }
}

TEST_CASE("a mistyped flag gets the one that was meant") {
  for (const auto& [typed, meant] : {std::pair{"--lisen", "--listen"}, {"--port-flie=x", "--port-file"}}) {
    const RunResult result = run({pageserverd_path(), typed});
    CHECK(result.status == 2);
    INFO(result.err);
    CHECK(result.err.find("did you mean " + std::string(meant) + "?") != std::string::npos);
  }
  CHECK(run({pageserverd_path(), "--wombat"}).err.find("did you mean") == std::string::npos);
}

TEST_CASE("help and version end with status 0") {
  const auto help = daemon_with({"--help"});
  CHECK(help.status == 0);
  for (const char* flag : {"--config", "--listen", "--unix", "--store", "--directory", "--port-file", "--check-config",
                           "--version", "--log-format", "Example:"}) {
    INFO(flag);
    CHECK(help.out.find(flag) != std::string::npos);
  }
  CHECK(help.out.find("{text,json}") == std::string::npos);
  const auto version = daemon_with({"--version"});
  CHECK(version.status == 0);
  CHECK(version.out.find("pageserverd ") == 0);
}

TEST_CASE("the flag --check-config warns where the stores need more open files than there may be") {
  const TempDir dir;
  std::string stores;
  for (int i = 0; i < 400; ++i)
    stores += std::string(i == 0 ? "" : ",") + R"({"name": "s)" + std::to_string(i) + R"(", "path": ")" +
              dir.file("s" + std::to_string(i) + ".img") + "\"}";
  const std::string config = write_file(dir, "many.json", "{\"stores\": [" + stores + "]}");
  const auto check = [&](const std::string& limit) {
    return run({"bash", "-c", "ulimit -n " + limit + " && exec \"$0\" --check-config --config \"$1\"",
                pageserverd_path(), config});
  };
  const auto few = check("700");
  CHECK(few.status == 0);
  CHECK(few.out == "ok\n");
  for (const char* text : {"warning: 400 stores need 800 open files", "it may have 700:", "ulimit -n"})
    CHECK(few.err.find(text) != std::string::npos);
  // The soft limit alone is raised at the start.
  CHECK(check("1024").err.empty());
  CHECK(check("-S 700").err.empty());
}

TEST_CASE("a word that no flag takes is named as one that is not expected") {
  for (const char* flag :
       {"--store=a=x.img", "--unix=/run/x.sock", "--listen=127.0.0.1:0", "--listen-tls=127.0.0.1:0"}) {
    const std::string text = flag;
    const auto equals = text.find('=');
    const auto result = daemon_with({text.substr(0, equals), text.substr(equals + 1), "extra", "--check-config"});
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.err.find("not expected: extra") != std::string::npos);
  }
}

TEST_CASE("what is printed for a person and can't be written is a failure that says so") {
  for (const char* flags :
       {"--help", "--version", "--print-config-reference", "--print-metrics-reference",
        "--store a=/nowhere/a.img --check-config", "--store a=/nowhere/a.img --check-config --explain anyone a"}) {
    INFO(flags);
    const auto full = run({"bash", "-c", "exec \"$0\" " + std::string(flags) + " >/dev/full", pageserverd_path()});
    CHECK(full.status == 1);
    CHECK(full.err == "pageserverd: write to standard output: No space left on device\n");
    const auto closed = run({"bash", "-c", "exec \"$0\" " + std::string(flags) + " >&-", pageserverd_path()});
    CHECK(closed.status == 1);
    CHECK(closed.err.find("Bad file descriptor") != std::string::npos);
  }
}

TEST_CASE("the flag --check-config says ok, or everything that is wrong, and serves nothing") {
  const TempDir dir;
  const std::string good = write_file(dir, "good.json", R"({"stores": [{"name": "a", "path": "/nowhere/a.img"}]})");
  auto result = daemon_with({"--check-config", "--config", good});
  CHECK(result.status == 0);
  CHECK(result.out == "ok\n");
  const std::string bad =
      write_file(dir, "bad.json", R"({"stores": [{"name": "a", "path": 1}], "lisen": [], "threads": 65})");
  result = daemon_with({"--check-config", "--config", bad});
  CHECK(result.status == 1);
  CHECK(result.out.empty());
  CHECK(count_of(result.err, "\n") == 3);
  for (const char* text : {"stores[0].path: expected a text", "lisen: unknown key; did you mean \"listen\"?",
                           "threads: expected a whole number from 0 to 64, got 65"}) {
    CHECK(result.err.find(text) != std::string::npos);
  }
  CHECK(daemon_with({"--config", bad}).status == 1);
  result = daemon_with({"--check-config", "--config", dir.file("missing.json")});
  CHECK(result.status == 1);
  CHECK(result.err.find("missing.json: No such file or directory") != std::string::npos);
  // Also what only shows when entries are compared, beside what is wrong in one of them.
  const std::string twice = write_file(
      dir, "twice.json", R"({"stores": [{"name": "a", "path": "/x"}, {"name": "a", "path": "/y"}], "threads": 65})");
  result = daemon_with({"--check-config", "--config", twice});
  CHECK(count_of(result.err, "\n") == 2);
  CHECK(result.err.find("stores[1].name: \"a\" is taken by stores[0]") != std::string::npos);
  CHECK(daemon_with({"--check-config"}).err.find("nothing to serve") != std::string::npos);
  result = daemon_with({"--check-config", "--store", "a=/x", "--store", "a=/y"});
  CHECK(result.err.find("--store a=/y: \"a\" is taken by --store a=/x") != std::string::npos);
}

TEST_CASE("flags win over the configuration file") {
  TempDir dir;
  const std::string config =
      write_file(dir, "c.json",
                 R"({"listen": ["127.0.0.1:1"], "log": {"level": "error", "format": "text"},
                                    "stores": [{"name": "a", "path": ")" +
                     dir.file("from_file.img") + R"("}, {"name": "b", "path": ")" + dir.file("b.img") + R"("}]})");
  Daemon daemon({"--config", config, "--store", "a={dir}/from_flag.img", "--log-format", "json", "--log-level", "info"},
                &dir);
  CHECK(daemon.listeners().size() == 1);
  CHECK(std::filesystem::exists(dir.file("from_flag.img")));
  CHECK_FALSE(std::filesystem::exists(dir.file("from_file.img")));
  CHECK(std::filesystem::exists(dir.file("b.img")));
  daemon.wait_for_log("\"event\":\"start\"");
}

TEST_CASE("JSON log lines are JSON, each of them, whatever a client calls itself") {
  Daemon daemon({"--store", "demo={dir}/demo.img", "--log-format", "json", "--log-level", "debug"});
  {
    RawClient client = RawClient::tcp(daemon.port());
    client.hello("quote\" back\\slash \xc3\xa9");
    client.open("demo");
    client.try_open("demo");
    client.call(proto::CloseRequest{});
  }
  RawClient garbage = RawClient::tcp(daemon.port());
  garbage.send_bytes(bytes_of("GET / HTTP/1.1\r\n\r\n"));
  CHECK(garbage.closed_within());
  CHECK(daemon.stop() == 0);
  std::istringstream lines(daemon.log());
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    INFO(line);
    const auto parsed = nlohmann::json::parse(line);
    CHECK(parsed.at("time").get<std::string>().size() == 24);
    CHECK(parsed.at("level").is_string());
    CHECK(parsed.at("event").is_string());
  }
  CHECK(count >= 8);
}

TEST_CASE("no name and no path gets into a line of the log as it is: none forges a line, a field or a colour") {
  const std::string format = GENERATE("text", "json");
  TempDir dir;
  // A path may be any bytes; a session's name any letters, quotes and blanks.
  const std::string folder = dir.file("o\x1b[31m\nd\" x=1 \xc2\x9b\xe2\x80\xa8\xe2\x80\xae\xff");
  std::filesystem::create_directory(folder);
  const std::vector<std::string> names{"a b=c", "x\" level=ERROR store=\"y", "back\\slash\\\"", "J\xc3\xbcrgen"};
  Daemon daemon({"--store", "demo=" + folder + "/demo.img", "--directory", folder, "--log-format", format,
                 "--log-level", "debug"},
                &dir);
  {
    RawClient client = RawClient::tcp(daemon.port());
    client.hello("client\" x=\"1");
    for (const std::string& name : names) {
      RawClient session = RawClient::tcp(daemon.port());
      session.hello(name);
      session.try_open("demo", proto::Access::read, 0, name).as<proto::OpenAnswer>();
      session.call(proto::CloseRequest{}).as<proto::CloseAnswer>();
    }
    // What is refused is in the log with its text, which has the path. Names of stores have no such letters.
    std::filesystem::create_directory(folder + "/f.img");
    std::ofstream(folder + "/bad.img") << "no whole image";
    CHECK(client.try_open("bad").status() == proto::Status::provider_error);
    CHECK(client.try_open("none\n\x1b").status() != proto::Status::ok);
  }
  CHECK(daemon.stop() == 0);
  const std::regex text_line(R"re(\S+ (DEBUG|INFO|WARN|ERROR)( [a-z']+)+( [a-z_]+=("([^"\\]|\\.)*"|[^ "=]+))*)re");
  std::istringstream lines(daemon.log());
  std::size_t sessions = 0;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK_FALSE(base::has_unsafe(line));
    std::string name;
    if (format == "json") {
      const auto parsed = nlohmann::json::parse(line);
      CHECK(parsed.at("level").is_string());
      if (parsed.at("event") == "session open") name = parsed.at("name").get<std::string>();
    } else {
      CHECK(std::regex_match(line, text_line));
    }
    if (line.find("session open") == std::string::npos) continue;
    if (format == "json") CHECK(std::count(names.begin(), names.end(), name) == 1);
    ++sessions;
  }
  CHECK(sessions == names.size());
  daemon.wait_for_log("bad.img");
}

TEST_CASE("a read-only store admits readers only and keeps its file as it is") {
  TempDir dir;
  std::ofstream(dir.file("a.img")).flush();
  std::filesystem::resize_file(dir.file("a.img"), 65536);
  std::filesystem::permissions(dir.file("a.img"), std::filesystem::perms(0444));
  const std::string config = write_file(
      dir, "c.json", R"({"stores": [{"name": "a", "read_only": true, "path": ")" + dir.file("a.img") + R"("}]})");
  Daemon daemon({"--config", config}, &dir);
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  CHECK(client.try_open("a").status() == proto::Status::read_only);
  client.open("a", proto::Access::read);
  CHECK(client.read(0, 10) == std::vector<std::byte>(10));
  CHECK(client.call(proto::StatRequest{}).as<proto::StatAnswer>().read_only);
}
