// Which image is this? What people do to image files with other tools, before, while and after a store is served.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t page = 65536;

std::string text_at(RawClient client, std::uint64_t offset, std::uint32_t length) {
  const auto bytes = client.read(offset, length);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

/// Written and flushed through the daemon.
void put(const Daemon& daemon, std::string_view store, std::uint64_t offset, const std::string& text) {
  RawClient client = session_on(daemon, store);
  client.write(offset, bytes_of(text));
  REQUIRE(client.call(proto::FlushRequest{}).status() == proto::Status::ok);
  REQUIRE(client.call(proto::CloseRequest{}).status() == proto::Status::ok);
}

std::string text_of(const Daemon& daemon, std::string_view store, std::uint64_t offset, std::uint32_t length) {
  return text_at(session_on(daemon, store, proto::Access::read), offset, length);
}

void make_image(const fs::path& path, std::uint64_t pages) {
  std::ofstream(path).close();
  fs::resize_file(path, pages * page);
}

/// The daemon alone, to its end: for starts that are refused.
RunResult started(const std::vector<std::string>& flags) {
  std::vector<std::string> argv{pageserverd_path()};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return run(argv);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Runs a script in a mount namespace of its own. Where that is not allowed the status is 99.
RunResult in_own_mounts(const std::string& script) {
  std::vector<std::string> argv{"unshare", "--mount"};
  if (::geteuid() != 0) argv.insert(argv.end(), {"--user", "--map-root-user"});
  std::vector<std::string> probe = argv;
  probe.insert(probe.end(), {"true"});
  if (run(probe).status != 0) return {99, {}, {}};
  argv.insert(argv.end(), {"sh", "-ec", script});
  return run(argv);
}

}  // namespace

TEST_CASE("an image with two names is refused for writing under both, and nothing is made beside it") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  {
    Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
    put(daemon, "a", 0, "one");
    daemon.expect_complaint("has 2 names (hard links) now");
    fs::create_hard_link(dir.path() / "a.img", dir.path() / "b.img");
    daemon.kill_hard();
  }
  for (const std::string name : {"a.img", "b.img"}) {
    INFO(name);
    const RunResult refused = started({"--unix", dir.file("s"), "--store", "x=" + dir.file(name)});
    CHECK(refused.status == 1);
    CHECK(contains(refused.err, "has 2 names (hard links)"));
    CHECK(contains(refused.err, "remove all names but one"));
    for (const std::vector<std::string>& command : {std::vector<std::string>{"recover", dir.file(name)},
                                                    {"grow", "store:" + dir.file(name), "1"},
                                                    {"grow", dir.file(name), "1"}}) {
      std::vector<std::string> argv{pagectl_path()};
      argv.insert(argv.end(), command.begin(), command.end());
      const RunResult tool = run(argv);
      INFO(command.front() << ": " << tool.err);
      CHECK(tool.status == 1);
    }
    CHECK(contains(run({pagectl_path(), "grow", "store:" + dir.file(name), "1"}).err, "has 2 names (hard links)"));
  }
  CHECK(fs::file_size(dir.path() / "a.img") == 2 * page);
  fs::remove(dir.path() / "b.img");
  const Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
  CHECK(text_of(daemon, "a", 0, 3) == "one");
}

TEST_CASE("a second name that is made while the store is served is said, and read-only stores may have one") {
  TempDir dir;
  make_image(dir.path() / "a.img", 2);
  {
    Daemon daemon({"--store", "a={dir}/a.img"}, &dir);
    daemon.expect_complaint("has 2 names (hard links) now");
    fs::create_hard_link(dir.path() / "a.img", dir.path() / "b.img");
    daemon.wait_for_log("has 2 names (hard links) now");
    CHECK(daemon.stop() == 0);
  }
  const RunResult hash = run({pagectl_path(), "hash", dir.file("b.img")});
  CHECK(hash.status == 0);
}

TEST_CASE("an image that is mounted by itself, without its folder, is refused for writing") {
  TempDir dir;
  fs::create_directory(dir.path() / "host");
  fs::create_directory(dir.path() / "data");
  make_image(dir.path() / "host/a.img", 2);
  make_image(dir.path() / "data/a.img", 0);
  const std::string mounted = "mount --bind '" + dir.file("host/a.img") + "' '" + dir.file("data/a.img") + "'\n";
  const RunResult daemon = in_own_mounts(mounted + "exec '" + pageserverd_path() + "' --unix '" + dir.file("s") +
                                         "' --store 'a=" + dir.file("data/a.img") + "'");
  if (daemon.status == 99) {
    WARN("no mount namespace can be made here: not tested");
    return;
  }
  CHECK(daemon.status == 1);
  CHECK(contains(daemon.err, "is mounted by itself"));
  CHECK(contains(daemon.err, "mount the folder that holds the image"));
  const RunResult recover =
      in_own_mounts(mounted + "exec '" + pagectl_path() + "' recover '" + dir.file("data/a.img") + "'");
  CHECK(recover.status == 1);
  const RunResult embedded =
      in_own_mounts(mounted + "exec '" + pagectl_path() + "' grow 'store:" + dir.file("data/a.img") + "' 1");
  CHECK(embedded.status == 1);
  CHECK(contains(embedded.err, "is mounted by itself"));
  // Reading needs no log, and the folder itself mounted is the remedy.
  CHECK(in_own_mounts(mounted + "exec '" + pagectl_path() + "' hash '" + dir.file("data/a.img") + "'").status == 0);
  CHECK(in_own_mounts("mount --bind '" + dir.file("host") + "' '" + dir.file("data") + "'\nexec '" + pagectl_path() +
                      "' grow 'store:" + dir.file("data/a.img") + "' 1")
            .status == 0);
  CHECK(fs::file_size(dir.path() / "host/a.img") == 3 * page);
}
