// Starts that fail: what is wrong is found before anything is made, and what was made goes again.
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"
#include "tests/support/files.hpp"
#include "tests/support/small_disk.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

RunResult daemon_with(std::vector<std::string> flags) {
  flags.insert(flags.begin(), pageserverd_path());
  return run(std::move(flags));
}

RunResult checked(std::vector<std::string> flags) {
  flags.insert(flags.begin(), "--check-config");
  return daemon_with(std::move(flags));
}

}  // namespace

TEST_CASE("the check of a configuration finds addresses that can't be listened on at once") {
  struct Case {
    std::vector<std::string> listen;
    const char* fault;
  };
  const Case wrong[] = {
      {{"127.0.0.1:7000", "127.0.0.1:7000"}, "is the same address as"},
      {{"localhost:7000", "[::1]:7000", "127.0.0.1:7000"}, "is the same address as \"localhost:7000\""},
      {{"[::1]:7000", "[0:0:0:0:0:0:0:1]:7000"}, "is the same address as"},
      {{"0.0.0.0:7000", "127.0.0.1:7000"}, "is a part of \"0.0.0.0:7000\""},
      {{"127.0.0.2:7000", "0.0.0.0:7000"}, "takes in \"127.0.0.2:7000\""},
  };
  for (const Case& one : wrong) {
    std::vector<std::string> flags{"--store", "a=/nowhere/a.img", "--insecure"};
    for (const std::string& address : one.listen) flags.insert(flags.end(), {"--listen", address});
    const RunResult result = checked(flags);
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(result.out.empty());
    CHECK(count_of(result.err, "\n") == 1);
    CHECK(result.err.find(one.fault) != std::string::npos);
  }
  CHECK(checked({"--store", "a=/nowhere/a.img", "--insecure", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0",
                 "--listen", "0.0.0.0:7000", "--listen", "[::]:7000", "--listen", "127.0.0.1:7001"})
            .out == "ok\n");
}

TEST_CASE("the check of a configuration finds a socket's path that is too long, with the numbers") {
  const TempDir dir;
  const std::string path = "/" + std::string(107, 's');
  std::ofstream(dir.file("c.json")) << R"({"unix": [{"path": ")" << path
                                    << R"("}], "stores": [{"name": "a", "path": "/nowhere/a.img"}]})";
  for (const auto& result :
       {checked({"--store", "a=/nowhere/a.img", "--unix", path}), checked({"--config", dir.file("c.json")})}) {
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(result.err.find("has 108 bytes") != std::string::npos);
    CHECK(result.err.find("at most 107") != std::string::npos);
  }
  CHECK(checked({"--store", "a=/nowhere/a.img", "--unix", path.substr(0, 107)}).status == 0);
}

TEST_CASE("the check of a configuration finds one file that is named for two things") {
  const TempDir dir;
  const std::string image = "a=" + dir.file("a.img");
  for (const auto& flags : std::vector<std::vector<std::string>>{
           {"--unix", dir.file("s"), "--unix", dir.path().string() + "/./s"},
           {"--unix", dir.file("a.img")},
           {"--port-file", dir.file("a.img")},
           {"--unix", dir.file("s"), "--port-file",
            dir.path().string() + "/../" + dir.path().filename().string() + "/s"},
       }) {
    std::vector<std::string> all{"--store", image};
    all.insert(all.end(), flags.begin(), flags.end());
    const RunResult result = checked(all);
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(result.err.find("is the same file as") != std::string::npos);
  }
}

TEST_CASE("a configuration that is a folder is refused as one, and one from a pipe is read") {
  const TempDir dir;
  const RunResult folder = checked({"--config", dir.path().string()});
  CHECK(folder.status == 1);
  CHECK(folder.err.find("it is a folder; name the file itself") != std::string::npos);
  const RunResult pipe =
      run({"bash", "-c", R"("$0" --check-config --config <(echo '{"stores": [{"name": "a", "path": "/x"}]}'))",
           pageserverd_path()});
  INFO(pipe.err);
  CHECK(pipe.out == "ok\n");
  CHECK(checked({"--config", "/dev/zero"}).err.find("bytes") != std::string::npos);
  // What an unset variable of a script leaves.
  for (const char* flag : {"--config", "--unix", "--directory", "--port-file"}) {
    INFO(flag);
    CHECK(checked({"--store", "a=/x", flag, ""}).status == 2);
  }
}

TEST_CASE("a start that fails leaves no image, no socket and no port file that was not there, and touches no other") {
  TempDir dir;
  Daemon other({"--store", "demo={dir}/demo.img"});
  const std::string taken = "127.0.0.1:" + std::to_string(other.port());
  std::filesystem::create_symlink(dir.file("behind.img"), dir.file("link.img"));
  std::ofstream(dir.file("empty.img")).flush();
  const std::vector<std::string> stores{"--store", "new=" + dir.file("new.img"),
                                        "--store", "link=" + dir.file("link.img"),
                                        "--store", "empty=" + dir.file("empty.img")};
  for (const auto& flags : std::vector<std::vector<std::string>>{
           {"--listen", taken},
           {"--listen", "127.0.0.1:0", "--unix", dir.file("s"), "--listen", taken},
           {"--unix", dir.file("s"), "--unix", dir.file("none/s")},
           {"--unix", dir.file("s"), "--store", "last=" + dir.file("none/last.img")},
           {"--unix", dir.file("s"), "--store", "busy=" + other.file("demo.img")},
           {"--unix", dir.file("s"), "--port-file", dir.file("none/port")},
           {"--unix", dir.file("s"), "--directory", dir.file("none")},
       }) {
    std::vector<std::string> all = stores;
    all.insert(all.end(), flags.begin(), flags.end());
    all.insert(all.end(), {"--config", dir.file("c.json")});
    // A flag for it wins.
    std::ofstream(dir.file("c.json")) << R"({"port_file": ")" << dir.file("port") << "\"}";
    const RunResult result = daemon_with(all);
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(count_of(result.err, "\n") == 1);
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"c.json", "empty.img", "link.img"});
  }
}

TEST_CASE("a port file that holds something else is not removed, and what a killed daemon left of one is") {
  TempDir dir;
  const std::vector<std::string> flags{"--unix",      dir.file("s"),   "--store", "demo=" + dir.file("demo.img"),
                                       "--port-file", dir.file("port")};
  for (const char* name : {"port", "port.tmp"}) {
    std::ofstream(dir.file(name)) << "my notes\n";
    const RunResult refused = daemon_with(flags);
    INFO(refused.err);
    CHECK(refused.status == 1);
    CHECK(refused.err.find("holds something else than addresses") != std::string::npos);
    CHECK(content_of(dir.file(name)) == "my notes\n");
    CHECK_FALSE(std::filesystem::exists(dir.file("demo.img")));
    std::filesystem::remove(dir.file(name));
  }
  std::filesystem::create_directory(dir.file("port"));
  CHECK(daemon_with(flags).status == 1);
  CHECK(std::filesystem::is_directory(dir.file("port")));
  std::filesystem::remove(dir.file("port"));
  std::ofstream(dir.file("port")) << "127.0.0.1:12\n[::1]:1";
  std::ofstream(dir.file("port.tmp")) << "127.0.";
  std::vector<std::string> all = flags;
  all.insert(all.begin(), {pageserverd_path(), "--listen", "127.0.0.1:0"});
  Process daemon(all);
  daemon.wait_for_err(" INFO start ");
  CHECK(content_of(dir.file("port")).starts_with("127.0.0.1:"));
  CHECK_FALSE(std::filesystem::exists(dir.file("port.tmp")));
  // Somebody else's file in its place is not the daemon's to remove.
  std::filesystem::remove(dir.file("port"));
  std::ofstream(dir.file("port")) << "another's";
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
  CHECK(content_of(dir.file("port")) == "another's");
}

TEST_CASE("an image whose name leaves no room for those of the files beside it is refused at the start, with numbers") {
  const TempDir dir;
  for (const std::size_t bytes : {237u, 241u, 255u}) {
    const std::string path = dir.file(std::string(bytes - 4, 'n') + ".img");
    const bool there = GENERATE(false, true);
    if (there) std::ofstream(path).flush();
    const RunResult result = daemon_with({"--unix", dir.file("s"), "--store", "a=" + path});
    INFO(result.err);
    CHECK(result.status == 1);
    CHECK(result.err.find("its name has " + std::to_string(bytes) + " bytes") != std::string::npos);
    CHECK(result.err.find("at most 236 bytes") != std::string::npos);
    CHECK(std::filesystem::exists(path) == there);
  }
}

TEST_CASE("an image with the longest name that there may be takes a log of several files, a spill and a recovery") {
  TempDir dir;
  std::ofstream(dir.file("c.json"))
      << R"({"limits": {"log_bytes": "4MiB", "held_bytes": "4MiB", "private_memory_bytes": "64KiB"}})";
  Daemon daemon({"--store", "a={dir}/" + std::string(232, 'n') + ".img", "--config", "{dir}/c.json"}, &dir);
  const auto data = pattern(1u << 20, 5);
  {
    RawClient client = session_on(daemon, "a");
    client.grow(64);
    for (std::uint64_t i = 0; i < 16; ++i) client.write((i % 4) << 20, data);
    RawClient fork = session_on(daemon, "a", proto::Access::fork);
    fork.write(0, data);
    client.flush();
    daemon.kill_hard();
  }
  daemon.start_again();
  RawClient client = session_on(daemon, "a");
  CHECK(client.read(3u << 20, 1u << 20) == data);
}

TEST_CASE("who only reads from a file system that can't be written is told how the daemon serves that") {
  SmallDisk disk{16u << 20};
  if (!disk.works()) return;
  disk.fill("a.img", 65536);
  REQUIRE(::mount("none", std::filesystem::path(disk.file("a.img")).parent_path().c_str(), "tmpfs",
                  MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  const std::string directory = std::filesystem::path(disk.file("a.img")).parent_path();
  TempDir dir;
  {
    Daemon daemon({"--directory", directory}, &dir);
    RawClient client = RawClient::tcp(daemon.port());
    client.hello();
    const Frame refused = client.try_open("a", proto::Access::read);
    INFO(refused.text());
    CHECK(refused.status() == proto::Status::read_only);
    CHECK(refused.text().find("\"read_only\": true in the configuration") != std::string::npos);
  }
  std::ofstream(dir.file("c.json")) << R"({"directory": {"path": ")" << directory << R"(", "read_only": true}})";
  Daemon daemon({"--config", "{dir}/c.json"}, &dir);
  CHECK(session_on(daemon, "a", proto::Access::read).read(0, 1) == bytes_of("x"));
}
