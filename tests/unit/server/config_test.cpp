#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include "tests/support/catch.hpp"

#include "server/config/config_json.hpp"
#include "server/config/config_reference.hpp"
#include "server/config/config_values.hpp"
#include "storage/engine/open_engine.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver::server;
using pageserver::test::content_of;

namespace {

std::vector<std::string> faults_of(std::string_view text) {
  Config config;
  return read_config(text, config);
}

// Of both passes, as --check-config shows them.
std::vector<std::string> all_faults_of(std::string_view text) {
  Config config;
  std::vector<std::string> faults = read_config(text, config);
  for (std::string& fault : check_config(config)) faults.push_back(std::move(fault));
  return faults;
}

bool holds(const std::vector<std::string>& faults, std::string_view text) {
  return std::any_of(faults.begin(), faults.end(),
                     [&](const std::string& fault) { return fault.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("sizes are numbers of bytes or have a binary unit") {
  CHECK(parse_size("0") == 0u);
  CHECK(parse_size("65536") == 65536u);
  CHECK(parse_size("7B") == 7u);
  CHECK(parse_size("64MiB") == 64u << 20);
  CHECK(parse_size("16777215TiB") == 16777215ull << 40);
  for (const char* bad : {"", "MiB", "64 MiB", "64MB", "64mib", "-1", "1.5GiB", "18446744073709551616", "16777216TiB",
                          "99999999999TiB", "16384PiB", "0x10"}) {
    INFO(bad);
    CHECK_FALSE(parse_size(bad));
  }
}

TEST_CASE("durations are milliseconds or have a unit") {
  using std::chrono::milliseconds;
  CHECK(parse_duration("250") == milliseconds(250));
  CHECK(parse_duration("500ms") == milliseconds(500));
  CHECK(parse_duration("30s") == milliseconds(30'000));
  CHECK(parse_duration("5m") == milliseconds(300'000));
  CHECK(parse_duration("2h") == milliseconds(7'200'000));
  for (const char* bad : {"", "s", "30 s", "30sec", "-1s", "0.5s", "9999999999999999s", "10000h"}) {
    INFO(bad);
    CHECK_FALSE(parse_duration(bad));
  }
}

TEST_CASE("modes are octal") {
  CHECK(parse_mode("0640") == 0640u);
  CHECK(parse_mode("660") == 0660u);
  for (const char* bad : {"", "0888", "1777", "rw-", "0640 "}) {
    INFO(bad);
    CHECK_FALSE(parse_mode(bad));
  }
}

TEST_CASE("listen addresses are numeric, IPv6 in brackets") {
  const auto check = [](const char* text, const char* host, int port) {
    const auto address = parse_listen(text);
    INFO(text);
    REQUIRE(address);
    CHECK(address->host == host);
    CHECK(address->port == port);
  };
  check("127.0.0.1:7000", "127.0.0.1", 7000);
  check("0.0.0.0:0", "0.0.0.0", 0);
  check("[::1]:6553", "::1", 6553);
  check("[::]", "::", 6553);
  check("localhost", "localhost", 6553);
  for (const char* bad : {"", ":6553", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", "::1:6553", "[::1",
                          "[127.0.0.1]:1", "example.org:6553", "127.0.0.256:1", "127.0.0.1:1 ", "[::1]6553"}) {
    INFO(bad);
    CHECK_FALSE(parse_listen(bad));
  }
}

TEST_CASE("a store flag is NAME=PATH") {
  CHECK(parse_store("demo=/a=b.img")->path == "/a=b.img");
  for (const char* bad : {"demo", "=x", "demo=", ".x=y", "a/b=c"}) {
    INFO(bad);
    CHECK_FALSE(parse_store(bad));
  }
}

TEST_CASE("an unknown key names the nearest one that exists") {
  CHECK(holds(faults_of(R"({"liste": []})"), "liste: unknown key; did you mean \"listen\"?"));
  CHECK(holds(faults_of(R"({"limits": {"conections": 1}})"),
              "limits.conections: unknown key; did you mean \"connections\"?"));
  const auto far = faults_of(R"({"zzzzzz": 1})");
  REQUIRE(far.size() == 1);
  CHECK(far[0] == "zzzzzz: unknown key");
}

TEST_CASE("each wrong value is refused with its path and what was expected") {
  struct Row {
    const char* text;
    const char* fault;
  };
  const Row rows[] = {
      {R"([])", "configuration: expected an object, got []"},
      {R"({"listen": "127.0.0.1"})", "listen: expected a list, got \"127.0.0.1\""},
      {R"({"listen": ["127.0.0.1:1", 7]})", "listen[1]: expected a numeric address and port"},
      {R"({"listen": ["db.example:1"]})", "listen[0]: expected a numeric address and port"},
      {R"({"unix": [{"mode": "0660"}]})", "unix[0].path: is missing"},
      {R"({"unix": [{"path": "/x", "mode": 432}]})", "unix[0].mode: expected an octal text such as \"0640\", got 432"},
      {R"({"unix": ["/x"]})", "unix[0]: expected an object, got \"/x\""},
      {R"({"stores": [{"name": "a", "path": "/a"}, {"name": "b", "path": 7}]})",
       "stores[1].path: expected a text that is not empty, got 7"},
      {R"({"stores": [{"path": "/a"}]})", "stores[0].name: is missing"},
      {R"({"stores": [{"name": "a/b", "path": "/a"}]})", "stores[0].name: expected a name of the form"},
      {R"({"stores": [{"name": "a", "path": "/a", "read_only": "no"}]})",
       "stores[0].read_only: expected true or false, got \"no\""},
      {R"({"stores": [{"name": "a", "path": "/a", "size_bytes_max": "1GB"}]})",
       "stores[0].size_bytes_max: expected a number of bytes or a text such as \"64MiB\", got \"1GB\""},
      {R"({"directory": {"create": true}})", "directory.path: is missing"},
      {R"({"directory": "/data"})", "directory: expected an object"},
      {R"({"limits": {"connections": 0}})", "limits.connections: expected a whole number from 1 to 1000000, got 0"},
      {R"({"limits": {"connections": -1}})", "limits.connections: expected a whole number"},
      {R"({"limits": {"connections": 1.5}})", "limits.connections: expected a whole number"},
      {R"({"limits": {"connections": 99999999999999999999}})", "limits.connections: expected a whole number"},
      {R"({"limits": {"request_bytes": "64KiB"}})", "limits.request_bytes: expected a size from 1048576 to 67108864"},
      {R"({"limits": {"hello_timeout": "soon"}})", "limits.hello_timeout: expected a number of milliseconds"},
      {R"({"limits": {"hello_timeout": 0}})", "limits.hello_timeout: expected at least 1 ms, got 0"},
      {R"({"threads": 65})", "threads: expected a whole number from 0 to 64, got 65"},
      {R"({"poll_us": 1001})", "poll_us: expected \"auto\" or a whole number of microseconds from 0 to 1000, got 1001"},
      {R"({"poll_us": "often"})", "poll_us: expected \"auto\" or a whole number"},
      {R"({"poll_us": -1})", "poll_us: expected \"auto\" or a whole number"},
      {R"({"grace": "1ms"})", "grace: expected at least 100 ms"},
      {R"({"log": {"format": "xml"}})", "log.format: expected \"text\" or \"json\", got \"xml\""},
      {R"({"log": {"level": 3}})", "log.level: expected \"debug\" or \"info\" or \"warn\" or \"error\", got 3"},
      {R"({"port_file": ""})", "port_file: expected a text that is not empty"},
      {R"({"threads": 1, "threads": 2})", "threads: this key is there twice in one object"},
      {R"({"threads": )", "not JSON: "},
      {"", "not JSON: "},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const std::vector<std::string> faults = faults_of(row.text);
    CHECK(faults.size() == 1);
    CHECK(holds(faults, row.fault));
  }
}

TEST_CASE("all faults are reported, not just the first") {
  const auto faults = faults_of(R"({"listne": 1, "stores": [{"name": 1, "path": 2}, 3],
                                    "limits": {"stores": "many", "keepalive": []}, "log": {"level": "loud"}})");
  CHECK(faults.size() == 7);
  for (const char* path :
       {"listne", "stores[0].name", "stores[0].path", "stores[1]", "limits.stores", "limits.keepalive", "log.level"}) {
    INFO(path);
    CHECK(holds(faults, std::string(path) + ": "));
  }
}

TEST_CASE("values that are right in themselves can contradict each other") {
  CHECK(holds(all_faults_of("{}"), "stores: nothing to serve"));
  CHECK(holds(all_faults_of(R"({"stores": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]})"),
              "stores[1].name: \"a\" is taken by stores[0]"));
  CHECK(holds(all_faults_of(R"({"stores": [{"name": "a", "path": "/tmp/./x"}, {"name": "b", "path": "/tmp/x"}]})"),
              "stores[1].path: \"/tmp/x\" is the same file as stores[0].path"));
  CHECK(holds(all_faults_of(R"({"stores": [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b"}],
                                "limits": {"stores": 1}})"),
              "limits.stores: 1 is less than the 2 stores"));
  CHECK(holds(all_faults_of(R"({"directory": {"path": "/a"}, "limits": {"buffered_bytes": "1MiB"}})"),
              "limits.buffered_bytes: 1048576 is less than one request"));
}

TEST_CASE("only a store that others can reach has somebody standing by") {
  const auto of_file = all_faults_of(R"({"stores": [{"name": "a", "path": "/tmp/x", "standby": true}]})");
  CHECK(holds(of_file, "stores[0].standby: the image of \"a\" is the file \"/tmp/x\" of this machine"));
  Config config;
  REQUIRE(
      read_config(R"({"stores": [{"name": "a", "path": "ceph:pool/a.img", "standby": true}], "home_timeout": "7s"})",
                  config)
          .empty());
  CHECK(check_config(config).empty());
  CHECK(config.stores.front().standby);
  CHECK(config.home_timeout == std::chrono::seconds{7});
}

TEST_CASE("two names of one file are two stores on one file") {
  const pageserver::test::TempDir dir;
  std::ofstream(dir.file("x.img")).put('x');
  std::filesystem::create_hard_link(dir.file("x.img"), dir.file("hard.img"));
  std::filesystem::create_symlink(dir.file("x.img"), dir.file("soft.img"));
  for (const char* other : {"hard.img", "soft.img"}) {
    const std::string text = R"({"stores": [{"name": "a", "path": ")" + dir.file("x.img") +
                             R"("}, {"name": "b", "path": ")" + dir.file(other) + R"("}]})";
    INFO(text);
    CHECK(holds(all_faults_of(text), "is the same file as stores[0].path"));
  }
}

namespace {

// "limits.connections" -> the value, as JSON, of each key; a list of texts is one value.
void collect(const nlohmann::json& value, const std::string& path, std::map<std::string, std::string>& found) {
  if (value.is_array() && value.at(0).is_string()) {
    found[path + "[]"] = value.dump();
  } else if (value.is_array()) {
    for (const auto& element : value) collect(element, path + "[]", found);
  } else if (value.is_object()) {
    for (const auto& [key, element] : value.items()) collect(element, path.empty() ? key : path + "." + key, found);
  } else {
    found[path] = value.dump();
  }
}

}  // namespace

TEST_CASE("the configurations of the container's examples are right") {
  const std::string kubernetes = content_of(KUBERNETES_PATH);
  const std::string key = "pageserverd.json: |";
  const std::size_t begin = kubernetes.find(key);
  const std::size_t end = kubernetes.find("\n---", begin);
  REQUIRE((begin != std::string::npos && end != std::string::npos));
  for (const std::string& text :
       {kubernetes.substr(begin + key.size(), end - begin - key.size()), content_of(CONTAINER_CONFIG_PATH)}) {
    INFO(text);
    Config config;
    CHECK(read_config(text, config).empty());
    CHECK(check_config(config).empty());
  }
}

TEST_CASE("the example configuration is right and has every key with its default") {
  const std::string text = content_of(EXAMPLE_CONFIG_PATH);
  Config config;
  CHECK(read_config(text, config).empty());
  CHECK(check_config(config).empty());

  std::map<std::string, std::string> found;
  collect(nlohmann::json::parse(text), "", found);
  for (const ConfigKey* key : keys::all) {
    INFO(key->path);
    const std::string path(key->path);
    REQUIRE(found.contains(path));
    CHECK(found[path] == (key->example.empty() ? default_json(*key) : std::string(key->example)));
    found.erase(path);
  }
  CHECK(found.empty());
}

TEST_CASE("an empty configuration has the defaults of the table") {
  Config empty;
  CHECK(read_config("{}", empty).empty());
  CHECK(empty.limits.size_bytes_max == keys::size_bytes_max.value);
  CHECK(empty.limits.engine.private_ranges == keys::private_ranges.value);
  CHECK(empty.limits.hello_timeout == keys::hello_timeout.duration());
  CHECK(default_json(keys::log_format) == (empty.log_format == LogFormat::text ? "\"text\"" : "no default"));
  CHECK(default_json(keys::log_level) == (empty.log_level == LogLevel::info ? "\"info\"" : "no default"));
}

TEST_CASE("the engine's own defaults are those of the table") {
  const pageserver::storage::EngineOptions engine;
  CHECK(engine.size_bytes_max == keys::size_bytes_max.value);
  CHECK(engine.log_bytes == keys::log_bytes.value);
  CHECK(engine.checkpoint_pace == keys::checkpoint_pace.value);
  CHECK(engine.held_bytes == keys::held_bytes.value);
  CHECK(engine.private_memory_bytes == keys::private_memory_bytes.value);
  CHECK(engine.transaction_bytes == keys::transaction_bytes.value);
  CHECK(engine.private_ranges == keys::private_ranges.value);
  CHECK(engine.fork_bytes == keys::fork_bytes.value);
  CHECK(engine.forks_bytes == keys::forks_bytes.value);
  CHECK(engine.file_mode == keys::directory_mode.value);
  CHECK(engine.home_timeout == keys::home_timeout.duration());
}

TEST_CASE("each number is refused just outside the range that the table says, and taken at its ends") {
  for (const ConfigKey* key : keys::all) {
    if (key->form != Form::whole && key->form != Form::size) continue;
    if (key->path.find("[]") != std::string_view::npos) continue;
    INFO(key->path);
    const auto faults_with = [&](std::uint64_t value) {
      const std::string part(key->path.substr(0, key->path.rfind('.')));
      const bool nested = part.size() != key->path.size();
      const std::string entry = "{\"" + std::string(key->name()) + "\": " + std::to_string(value) + "}";
      return faults_of(nested ? "{\"" + part + "\": " + entry + "}" : entry).size();
    };
    CHECK(faults_with(key->min) == 0);
    CHECK(faults_with(key->max) == 0);
    CHECK(faults_with(key->max + 1) == 1);
    if (key->min > 0) CHECK(faults_with(key->min - 1) == 1);
    CHECK(key->value >= key->min);
    CHECK(key->value <= key->max);
  }
}

TEST_CASE("docs/configuration.md is what the daemon prints") {
  INFO("write it anew: pageserverd --print-config-reference >docs/configuration.md");
  CHECK(content_of(CONFIG_REFERENCE_PATH) == config_reference());
}
