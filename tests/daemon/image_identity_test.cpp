// Which image is this? What people do to image files with other tools, before, while and after a store is served.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/daemon/images.hpp"

using namespace pageserver;
using namespace pageserver::test;

namespace {

namespace fs = std::filesystem;

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
      const RunResult refused_too = run(argv);
      INFO(command.front() << ": " << refused_too.err);
      CHECK(refused_too.status == 1);
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

TEST_CASE("without birth times an image that was removed and copied back is refused, whatever inode it has") {
  TempDir dir;
  const std::string at = dir.file("m"), a = at + "/a.img";
  const auto on_disk = [&](const std::string& script) {
    return in_own_mounts("mount -o loop '" + dir.file("disk") + "' '" + at + "'\n" + script);
  };
  fs::create_directory(at);
  // The kernel gives the inode that was freed last to the next file.
  const bool made =
      shell("truncate -s 24M '" + dir.file("disk") + "'; mkfs.ext4 -q -I 128 '" + dir.file("disk") + "'").status == 0;
  if (!made || on_disk("true").status != 0) {
    WARN("no file system without birth times can be mounted here: not tested");
    return;
  }
  const std::string store = "'store:" + a + "'", tool_path = "'" + pagectl_path() + "'";
  // A copy of each of the log's files while they are there, put back as the store of a killed process leaves them.
  const RunResult result =
      on_disk("cd '" + at + "'\ntruncate -s 131072 a.img\ncp a.img backup.img\n" + "'" + pageserverd_path() +
              "' --unix '" + dir.file("s") + "' --store a=a.img 2>'" + dir.file("log") + "' & daemon=$!\n" + "until " +
              tool_path + " ping 'pageserver+unix:///?socket=" + dir.file("s") + "' --wait 1000; do :; done\n" +
              "echo two | " + tool_path + " write 'pageserver+unix:///a?socket=" + dir.file("s") + "' 0\n" +
              "kill -9 $daemon; wait $daemon || true\nls -i a.img >before\nrm a.img; cp backup.img a.img\n" +
              "status=0; '" + pageserverd_path() + "' --unix '" + dir.file("s2") + "' --store a=a.img || status=$?\n" +
              "echo status $status; cat before; ls -i a.img");
  INFO(result.out << result.err);
  CHECK(contains(result.out, "status 1"));
  CHECK(contains(result.err, "was written for an image with"));
}
