// Images of block devices (RBD), copied into images and back, and compared with what Ceph's own tool exports.
#include "tests/support/catch.hpp"

#include <signal.h>

#include <chrono>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <pageserver/open.hpp>
#include <pageserver/session.hpp>

#include "storage/file/file_system.hpp"
#include "tests/ceph/cluster.hpp"
#include "tests/support/bytes.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/wait.hpp"

namespace pageserver::test {
namespace {

/// Ceph's own tool.
RunResult rbd(std::vector<std::string> words) {
  words.insert(words.begin(), {"rbd", "-c", cluster_folder() + "/ceph.conf", "--id", "disks"});
  return run(std::move(words));
}

RunResult done(RunResult result) {
  INFO(result.out + result.err);
  CHECK(result.status == 0);
  return result;
}

std::string disk(const std::string& name) {
  return "rbd:disks/" + name + "?conf=" + cluster_folder() + "/ceph.conf&id=disks";
}

/// 128 MiB of which little is there, at a place that begins and ends within pages, too.
void fill(MemoryProvider& image, unsigned seed) {
  image.grow(2048);
  image.write(70'000, pattern(100'000, seed));
  image.write(1500 * page_size, pattern(9, seed + 1));
  image.write(2048 * page_size - 4096, pattern(4096, seed + 2));
  image.flush();
}

std::uint64_t used_bytes(const std::string& name) {
  const auto usage = done(rbd({"du", "--exact", "disks/" + name, "--format", "json"}));
  return nlohmann::json::parse(usage.out)["images"][0]["used_size"].get<std::uint64_t>();
}

TEST_CASE("rbd: a store's pinned version becomes a disk, sparse, and the disk a store again") {
  TempDir folder;
  Daemon daemon{{"--store", "a=" + folder.file("a.img"), "--store", "b=ceph:pages/b.img" + new_home_keys()}};
  fill(*open(daemon.tcp_uri("a")), 1);
  const auto out = done(run({pagectl_path(), "copy", daemon.tcp_uri("a"), disk("one"), "--check", "--json"}));
  const auto document = nlohmann::json::parse(out.out);
  CHECK(document["atomic"] == true);
  CHECK(document["consistent"] == true);
  CHECK(document["bytes"] == 2048 * page_size);
  CHECK(document["bytes_sent"] < (1u << 20));
  // An object's bytes count from its beginning to the last that was written.
  CHECK(used_bytes("one") < (10u << 20));
  done(rbd({"export", "disks/one", folder.file("one.raw")}));
  CHECK(daemon.stop() == 0);
  CHECK(run({"cmp", folder.file("a.img"), folder.file("one.raw")}).status == 0);
  daemon.start_again();
  done(run({pagectl_path(), "copy", disk("one"), daemon.tcp_uri("b"), "--check"}));
  done(run({pagectl_path(), "diff", daemon.tcp_uri("a"), daemon.tcp_uri("b")}));
  // Into a file it is as sparse as it was.
  done(run({pagectl_path(), "copy", disk("one"), folder.file("back.img")}));
  CHECK(run({"cmp", folder.file("one.raw"), folder.file("back.img")}).status == 0);
  storage::FileStatus status;
  REQUIRE(storage::posix_file_system().status_of(folder.file("back.img"), status).ok());
  CHECK(status.allocated_bytes < (8u << 20));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("rbd: what Ceph's own tool made is read like any image, also a clone with what it has of its parent") {
  TempDir folder;
  fill(*open("file:" + folder.file("a.img")), 11);
  done(rbd({"import", folder.file("a.img"), "disks/parent"}));
  done(rbd({"snap", "create", "disks/parent@then"}));
  const auto hash = [](const std::string& what) { return done(run({pagectl_path(), "hash", what})).out.substr(0, 16); };
  CHECK(hash(disk("parent@then")) == hash(folder.file("a.img")));
  done(rbd({"clone", "--rbd-default-clone-format", "2", "disks/parent@then", "disks/child"}));
  done(run({pagectl_path(), "copy", disk("child"), folder.file("child.img"), "--check"}));
  CHECK(run({"cmp", folder.file("a.img"), folder.file("child.img")}).status == 0);
  // A snapshot stays as it was.
  done(rbd({"bench", "--io-type", "write", "--io-size", "64K", "--io-total", "4M", "disks/parent"}));
  CHECK(hash(disk("parent@then")) == hash(folder.file("a.img")));
  CHECK(hash(disk("parent")) != hash(folder.file("a.img")));
}

TEST_CASE("rbd: a disk that is there is replaced with --force only, and never one that is in use or has snapshots") {
  TempDir folder;
  fill(*open("file:" + folder.file("a.img")), 21);
  const auto copy = [&](const std::string& name, const std::string& flag = "--quiet") {
    return run({pagectl_path(), "copy", folder.file("a.img"), disk(name), flag});
  };
  done(rbd({"create", "--size", "4M", "disks/there"}));
  auto refused = copy("there");
  CHECK(refused.status == 1);
  CHECK(refused.err.find("--force") != std::string::npos);
  done(copy("there", "--force"));
  done(run({pagectl_path(), "diff", folder.file("a.img"), disk("there")}));
  done(rbd({"snap", "create", "disks/there@s"}));
  refused = copy("there", "--force");
  CHECK(refused.status == 1);
  CHECK(refused.err.find("it has snapshots") != std::string::npos);
  // Nothing is left of what was refused.
  CHECK(done(rbd({"ls", "disks"})).out.find("pagectl-") == std::string::npos);
  refused = copy("there@s");
  CHECK(refused.status == 1);
  CHECK(refused.err.find("a snapshot is never written") != std::string::npos);
  refused = run({pagectl_path(), "write", disk("there"), "0"}, "x");
  CHECK(refused.status == 1);
  CHECK(refused.err.find("is only copied") != std::string::npos);
}

TEST_CASE("rbd: a copy of a disk that somebody has open says so, and does not replace it") {
  TempDir folder;
  done(rbd({"create", "--size", "16M", "disks/busy"}));
  Process writer{{"rbd", "-c", cluster_folder() + "/ceph.conf", "--id", "disks", "bench", "--io-type", "write",
                  "--io-size", "4K", "--io-total", "64G", "disks/busy"}};
  wait_until([] { return rbd({"status", "disks/busy"}).out.find("watcher=") != std::string::npos; });
  const auto copied = done(run({pagectl_path(), "copy", disk("busy"), folder.file("busy.img"), "--json"}));
  CHECK(nlohmann::json::parse(copied.out)["consistent"] == false);
  CHECK(copied.err.find("was open elsewhere") != std::string::npos);
  CHECK(copied.err.find("copy a snapshot") != std::string::npos);
  const auto refused = run({pagectl_path(), "copy", folder.file("busy.img"), disk("busy"), "--force"});
  CHECK(refused.status == 75);
  CHECK(refused.err.find("somebody has it open") != std::string::npos);
  writer.signal(SIGTERM);
  writer.wait();
}

TEST_CASE("rbd: a disk whose size is no multiple of a page gets zeros behind it") {
  TempDir folder;
  std::ofstream{folder.file("odd.raw")} << std::string(100'000, 'o');
  done(rbd({"import", folder.file("odd.raw"), "disks/odd"}));
  const auto copied = done(run({pagectl_path(), "copy", disk("odd"), folder.file("odd.img"), "--check"}));
  CHECK(copied.err.find("size=100000") != std::string::npos);
  CHECK(copied.err.find("31072 zeros") != std::string::npos);
  std::ofstream{folder.file("odd.raw"), std::ios::app} << std::string(31'072, '\0');
  CHECK(run({"cmp", folder.file("odd.raw"), folder.file("odd.img")}).status == 0);
}

TEST_CASE("rbd: what is not there, not allowed or no path is an error that says so") {
  TempDir folder;
  const auto error_of = [&](const std::string& what) {
    const auto result = run({pagectl_path(), "copy", what, folder.file("x.img")});
    CHECK(result.status != 0);
    return result.err;
  };
  CHECK(error_of(disk("none")).find("no such image") != std::string::npos);
  CHECK(error_of("rbd:none/none?conf=" + cluster_folder() + "/ceph.conf&id=disks").find("no such image") !=
        std::string::npos);
  CHECK(error_of("rbd:disks/x?conf=/none").find("configuration") != std::string::npos);
  CHECK(error_of("rbd:disks").find("no path of an RBD image") != std::string::npos);
  CHECK(error_of("rbd:disks/x?nokey=1").find("no path of an RBD image") != std::string::npos);
  // The client `pages` has no rights for the disks.
  CHECK(error_of("rbd:disks/one?conf=" + cluster_folder() + "/ceph.conf&id=pages").find("does not allow it") !=
        std::string::npos);
}

TEST_CASE("rbd: a copy that is killed leaves nothing under the disk's name, and the next one clears away") {
  TempDir folder;
  {
    const auto image = open("file:" + folder.file("large.img"));
    image->grow(4096);
    for (std::uint64_t page = 0; page < 4096; ++page) image->write(page * page_size, pattern(page_size, 31));
    image->flush();
  }
  Process copy{{pagectl_path(), "copy", folder.file("large.img"), disk("killed")}};
  wait_until([] { return rbd({"ls", "disks"}).out.find("killed.pagectl-") != std::string::npos; });
  copy.signal(SIGKILL);
  copy.wait();
  const auto listed = [] { return "\n" + done(rbd({"ls", "disks"})).out; };
  CHECK(listed().find("\nkilled\n") == std::string::npos);
  // What it left may be another one's that lives, for as long as its watch stands; this one's nobody has open.
  done(rbd({"create", "--size", "4M", "disks/killed.pagectl-1"}));
  done(rbd({"create", "--size", "4M", "disks/killed.pagectl-mine"}));
  done(run({pagectl_path(), "copy", folder.file("large.img"), disk("killed")}));
  CHECK(listed().find("\nkilled\n") != std::string::npos);
  CHECK(listed().find("\nkilled.pagectl-1\n") == std::string::npos);
  CHECK(listed().find("\nkilled.pagectl-mine\n") != std::string::npos);
  done(run({pagectl_path(), "diff", folder.file("large.img"), disk("killed")}));
}

}  // namespace
}  // namespace pageserver::test
