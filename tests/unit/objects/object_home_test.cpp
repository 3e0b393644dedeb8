// A store's home in a pool of objects: the same contract as files, and nothing of an owner that another has followed.
#include "tests/support/catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "storage/engine/open_engine.hpp"
#include "storage/engine/thread_background.hpp"
#include "storage/file/home.hpp"
#include "storage/objects/home_path.hpp"
#include "storage/objects/object_file_system.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/objects/home_contract.hpp"
#include "tests/unit/objects/object_machines.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {
namespace {

using storage::File;
using storage::Folder;
using storage::LockKind;

constexpr ObjectFileSystem::Times without_fence{300, 50, false};

TEST_CASE("home: files of the operating system keep the contract") {
  TempDir folder;
  check_home_contract(storage::posix_file_system(), folder.path());
}

TEST_CASE("home: files in a pool of objects keep the contract") {
  ObjectCluster cluster;
  Machine machine{cluster};
  check_home_contract(machine.files, "ceph:pool");
}

TEST_CASE("home: a path names pool, file, client, namespace and configuration") {
  const auto found = storage::parse_home_path("ceph:pool/db.img?conf=/etc/a.conf&id=one&namespace=x%20y");
  REQUIRE(found);
  CHECK(found->pool.pool == "pool");
  CHECK(found->name == "db.img");
  CHECK(found->pool.configuration == "/etc/a.conf");
  CHECK(found->pool.client == "one");
  CHECK(found->pool.name_space == "x y");
  for (const char* const bad : {"pool/db.img", "ceph:", "ceph:/db.img", "ceph:pool/a/b", "ceph:pool/..",
                                "ceph:pool/a?b", "ceph:pool/a?what=1", "ceph:pool/a?id=%2", "ceph:pool/a?id="})
    CHECK_FALSE(storage::parse_home_path(bad));
  CHECK(storage::parent_folder("ceph:pool/db.img?conf=/etc/a.conf") == "ceph:pool?conf=/etc/a.conf");
  CHECK(storage::file_name("ceph:pool/db.img?conf=/etc/a.conf") == "db.img");
  CHECK(storage::path_in_folder("ceph:pool?conf=/etc/a.conf", "b") == "ceph:pool/b?conf=/etc/a.conf");
}

TEST_CASE("home: who has not renewed its lease is followed, and a holder who lives is not") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  const File held = first.locked("db.img");
  const File wanted = second.folder().open_file("db.img", O_RDWR, 0, "open");
  CHECK(second.files.lock(wanted.descriptor(), LockKind::exclusive).error == EWOULDBLOCK);
  storage::FileHome home;
  REQUIRE(second.files.home_of(wanted.descriptor(), home).ok());
  CHECK(home.holder.find("process " + std::to_string(::getpid())) != std::string::npos);
  REQUIRE(first.files.home_of(held.descriptor(), home).ok());
  REQUIRE(home.lease);
  CHECK(home.lease->may_answer());

  first.client.hold();
  wait_until([&] { return !home.lease->may_answer(); });
  CHECK(second.files.lock(wanted.descriptor(), LockKind::exclusive).ok());
  first.client.let_go();
  wait_until([&] { return home.lease->lost(); });
  CHECK_FALSE(home.lease->why().empty());
  std::vector<std::byte> bytes(10);
  CHECK(first.files.read_at(held.descriptor(), 0, bytes).error == storage::taken_over_error);
  CHECK(first.files.write_at(held.descriptor(), 0, bytes).error == storage::taken_over_error);
}

TEST_CASE("home: a lease that ran out is kept where nobody wanted it") {
  ObjectCluster cluster;
  Machine machine{cluster};
  const File held = machine.locked("db.img");
  storage::FileHome home;
  REQUIRE(machine.files.home_of(held.descriptor(), home).ok());
  machine.client.hold();
  wait_until([&] { return !home.lease->may_answer(); });
  const auto ends = std::chrono::steady_clock::now() + std::chrono::milliseconds{2 * quick.lease_ms};
  wait_until([&] { return std::chrono::steady_clock::now() > ends; });
  machine.client.let_go();
  wait_until([&] { return home.lease->may_answer(); });
  CHECK_FALSE(home.lease->lost());
  held.write(0, pattern(100));
  held.sync_data();
}

TEST_CASE("home: who is asked for a lock hears of it, and who waits for it hears when it is given up") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  const File held = first.locked("db.img");
  const File wanted = second.folder().open_file("db.img", O_RDWR, 0, "open");
  storage::FileHome mine, theirs;
  REQUIRE(first.files.home_of(held.descriptor(), mine).ok());
  REQUIRE(second.files.home_of(wanted.descriptor(), theirs).ok());
  REQUIRE(theirs.control);
  std::string holder;
  REQUIRE(theirs.control->holder(holder) == 0);
  CHECK(holder.find("process " + std::to_string(::getpid())) != std::string::npos);
  CHECK(mine.lease->wanted_by().empty());
  theirs.control->ask("somebody");
  wait_until([&] { return mine.lease->wanted_by() == "somebody"; });

  std::atomic<int> heard{0};
  const auto watch = theirs.control->watch([&] { ++heard; });
  const auto began = std::chrono::steady_clock::now();
  REQUIRE(mine.control->give_up("somebody asked for it") == 0);
  wait_until([&] { return heard == 1; });
  REQUIRE(theirs.control->holder(holder) == 0);
  CHECK(holder.empty());
  REQUIRE(second.files.lock(wanted.descriptor(), LockKind::exclusive).ok());
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::milliseconds{quick.lease_ms});
  // For whoever gave it up it is as if it had been taken.
  CHECK(mine.lease->lost());
  CHECK(mine.lease->why() == "somebody asked for it");
  std::vector<std::byte> bytes(10);
  CHECK(first.files.read_at(held.descriptor(), 0, bytes).error == storage::taken_over_error);
  CHECK(first.files.write_at(held.descriptor(), 0, bytes).error == storage::taken_over_error);
  CHECK(mine.control->give_up("again") == storage::taken_over_error);
}

TEST_CASE("home: a lock that is given up waits for what is under way, and lets nothing follow") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  const File held = first.locked("db.img");
  held.write(0, pattern(1000, 1));
  storage::FileHome mine;
  REQUIRE(first.files.home_of(held.descriptor(), mine).ok());
  first.client.hold();
  held.write(0, pattern(1000, 2));
  std::thread giver{[&] { CHECK(mine.control->give_up("the test") == 0); }};
  wait_until([&] { return mine.lease->lost(); });
  {
    const File wanted = second.folder().open_file("db.img", O_RDWR, 0, "open");
    storage::FileHome theirs;
    REQUIRE(second.files.home_of(wanted.descriptor(), theirs).ok());
    CHECK_FALSE(theirs.holder.empty());
  }
  first.client.let_go();
  giver.join();
  const File taken = second.locked("db.img");
  CHECK(content(taken, 0, 1000) == pattern(1000, 2));
  const auto before = cluster.picture();
  CHECK(first.files.write_at(held.descriptor(), 0, pattern(1000, 3)).error == storage::taken_over_error);
  CHECK(cluster.picture() == before);
}

TEST_CASE("home: a lock that is broken is free at once, and its holder changes nothing any more") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  const File held = first.locked("db.img");
  held.write(0, pattern(1000, 1));
  held.sync_data();
  first.client.hold();
  const File wanted = second.folder().open_file("db.img", O_RDWR, 0, "open");
  storage::FileHome theirs;
  REQUIRE(second.files.home_of(wanted.descriptor(), theirs).ok());
  const auto began = std::chrono::steady_clock::now();
  REQUIRE(theirs.control->break_lock() == 0);
  REQUIRE(second.files.lock(wanted.descriptor(), LockKind::exclusive).ok());
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::milliseconds{quick.lease_ms});
  CHECK(theirs.control->break_lock() == 0);  // its own, and a second one that is not there
  CHECK(theirs.control->break_lock() == 0);
  storage::FileHome mine;
  first.client.let_go();
  REQUIRE(first.files.home_of(held.descriptor(), mine).ok());
  static_cast<void>(first.files.write_at(held.descriptor(), 0, pattern(1000, 2)));
  CHECK(first.files.sync_data(held.descriptor()).error == storage::taken_over_error);
  CHECK(content(wanted, 0, 1000) == pattern(1000, 1));
}

/// What an owner handed over and did not arrive: bytes of its log in a run that is there and in one that is not yet
/// written, bytes of its image, a hole in it, and names. Returns whether anything of it changed what a successor has.
bool late_changes_arrive(const ObjectFileSystem::Times& times) {
  ObjectCluster cluster;
  Machine first{cluster, times}, second{cluster, times};
  File image = first.locked("db.img");
  image.truncate(8 << 20);
  image.write(0, pattern(100'000));
  image.write(5 << 20, pattern(1000));
  File log = first.folder().create_file("db.img.log.0000000001", 0640, "make");
  log.reserve(0, 16 << 20);
  log.write(0, pattern(5000));
  log.sync_data();
  image.sync_data();

  first.client.hold();
  log.write(5000, pattern(777));
  log.write(9 << 20, pattern(777));
  image.write(50, pattern(777));
  image.write(3 << 20, pattern(777));
  static_cast<void>(image.punch_hole(5 << 20, 1 << 20));

  const File taken = second.locked("db.img");
  const File found = second.folder().open_file("db.img.log.0000000001", O_RDWR, 0, "open");
  CHECK((content(found, 0, 10'000).size() == 5000));
  // As a recovery: what the log says of the image is written, and the log goes.
  taken.write(50, std::vector<std::byte>(777, std::byte{1}));
  taken.write(3 << 20, std::vector<std::byte>(777, std::byte{2}));
  static_cast<void>(taken.punch_hole(3 << 20, 1 << 20));  // empty again
  taken.write(5 << 20, pattern(1000));
  taken.sync_data();
  const auto before = content(taken, 0, 8 << 20);
  const auto log_before = content(found, 0, 16 << 20);

  first.client.let_go();
  wait_until([&] { return first.client.waiting() == 0; });
  static_cast<void>(first.files.sync_data(log.descriptor()));
  static_cast<void>(first.files.sync_data(image.descriptor()));
  const Folder names = first.folder();
  static_cast<void>(first.files.remove_beneath(names.descriptor(), "db.img.log.0000000001"));
  static_cast<void>(first.files.rename_beneath(names.descriptor(), "db.img", "other.img"));

  Machine third{cluster, times};
  const Folder anew = third.folder();
  storage::FileStatus status;
  if (!anew.has("db.img", status) || !anew.has("db.img.log.0000000001", status)) return true;
  const File image_now = anew.open_file("db.img", O_RDONLY, 0, "open");
  const File log_now = anew.open_file("db.img.log.0000000001", O_RDONLY, 0, "open");
  return content(image_now, 0, 8 << 20) != before || content(log_now, 0, 16 << 20) != log_before;
}

TEST_CASE("home: nothing that an earlier owner has under way changes what its successor has") {
  CHECK_FALSE(late_changes_arrive(quick));
}

TEST_CASE("home: a store is followed any number of times: epochs keep their order as the pool compares them") {
  ObjectCluster cluster;
  Machine machine{cluster};
  for (unsigned round = 0; round < 300; ++round) {
    const File image = machine.locked("db.img");
    const File log = machine.folder().open_file("db.img.log.0000000001", O_RDWR | O_CREAT, 0640, "open");
    log.write(0, pattern(100, round));
    REQUIRE((content(log, 0, 100) == pattern(100, round)));
  }
  std::uint64_t before = 0;
  for (int bit = 0; bit < 64; ++bit) {
    for (const std::uint64_t epoch : {(std::uint64_t{1} << bit) - 1, std::uint64_t{1} << bit}) {
      if (epoch <= before) continue;
      CHECK(is_less(storage::encode_epoch(before), storage::encode_epoch(epoch)));
      CHECK(storage::decode_epoch(storage::encode_epoch(epoch)) == epoch);
      before = epoch;
    }
  }
  // What earlier ones had written: eight bytes, highest first.
  const std::string earlier{"\0\0\0\0\0\0\x01\x7f", 8};
  CHECK(storage::decode_epoch(earlier) == 383);
  CHECK(is_less(earlier, storage::encode_epoch(384)));
}

TEST_CASE("home: without epochs it does: the control") { CHECK(late_changes_arrive(without_fence)); }

TEST_CASE("home: an owner whose log was removed can't make it anew, and is told") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  const File image = first.locked("db.img");
  const std::size_t without_log = cluster.picture().size();
  const File log = first.folder().create_file("db.img.log.0000000001", 0640, "make");
  log.reserve(0, 16 << 20);
  log.write(0, pattern(5000));
  log.sync_data();
  first.client.hold();
  const File taken = second.locked("db.img");
  CHECK(second.folder().remove("db.img.log.0000000001"));
  wait_until([&] { return cluster.picture().size() == without_log; });  // its runs go in the background
  first.client.let_go();
  // A run that it never wrote to: there must be no way to believe that this was kept.
  const std::vector<std::byte> bytes(100);
  static_cast<void>(first.files.write_at(log.descriptor(), 9 << 20, bytes));
  CHECK(first.files.sync_data(log.descriptor()).error == storage::taken_over_error);
  CHECK(cluster.picture().size() == without_log);
}

TEST_CASE("home: what a killed process left of files without a name goes with the next opening") {
  ObjectCluster cluster;
  {
    Machine first{cluster};
    const File image = first.locked("db.img");
    const File scratch = first.folder().create_unnamed("db.img.spill.0000000001", "make");
    scratch.write(0, pattern(3 << 20));
    scratch.sync_data();
    first.client.kill();
  }
  const auto runs = [&] {
    std::size_t count = 0;
    for (const auto& [name, bytes] : cluster.picture()) count += bytes.empty() ? 0u : 1u;
    return count;
  };
  CHECK(runs() == 3);
  Machine second{cluster};
  const File image = second.locked("db.img");
  wait_until([&] { return runs() == 0; });
}

TEST_CASE("home: a child after fork can do nothing with its parent's files, and closes none of them") {
  ObjectCluster cluster;
  Machine machine{cluster};
  const File image = machine.locked("db.img");
  image.write(0, pattern(1000));
  const pid_t child = ::fork();
  if (child == 0) {
    std::array<std::byte, 10> bytes{};
    const bool refused = machine.files.read_at(image.descriptor(), 0, bytes).error == EBADF &&
                         machine.files.open("ceph:pool/db.img", O_RDONLY, 0).error == ENOTCONN &&
                         machine.files.close(image.descriptor()) == 0;
    ::_exit(refused ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  image.sync_data();
  CHECK((content(image, 0, 1000) == pattern(1000)));
}

TEST_CASE("home: a full pool says no_space, and reads go on") {
  ObjectCluster cluster;
  Machine machine{cluster};
  const File image = machine.locked("db.img");
  image.write(0, pattern(1000));
  image.sync_data();
  {
    const std::lock_guard lock{cluster.mutex};
    cluster.full = true;
  }
  image.write(1000, pattern(1000));
  CHECK(thrown_by([&] { image.sync_data(); }).code() == Errc::no_space);
  CHECK((content(image, 0, 1000) == pattern(1000)));
}

TEST_CASE("home: a store of the engine closes, and is there for another machine as it was") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  {
    Served served{first};
    auto session = served.session();
    session->grow(40);
    session->write(70'000, pattern(300'000));
    Served::flush(*session);
    session.reset();
    served.store->close();
  }
  std::vector<std::string> names;
  REQUIRE(first.folder().try_names(names).ok());
  CHECK(names == std::vector<std::string>{"db.img"});
  Served served{second};
  auto session = served.session();
  CHECK(session->pages() == 40);
  CHECK((read_from(*session, 70'000, 300'000) == pattern(300'000)));
}

TEST_CASE("home: what was flushed before a kill is there for the next machine") {
  ObjectCluster cluster;
  auto first = std::make_unique<Machine>(cluster);
  auto served = std::make_unique<Served>(*first);
  auto session = served->session();
  session->grow(40);
  for (std::uint64_t i = 0; i < 30; ++i) {
    session->write(i * 66'000, pattern(5000, static_cast<unsigned>(i)));
    Served::flush(*session);
  }
  session->write(0, pattern(10'000, 99));
  first->client.kill();
  session.reset();
  served.reset();
  first.reset();
  Machine second{cluster};
  Served anew{second};
  auto reader = anew.session();
  CHECK(reader->pages() == 40);
  for (std::uint64_t i = 0; i < 30; ++i)
    CHECK((read_from(*reader, i * 66'000, 5000) == pattern(5000, static_cast<unsigned>(i))));
}

TEST_CASE("home: a store that was taken over answers lease_lost, and what it answered before is with its successor") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  Served served{first};
  auto session = served.session(Publish::on_write);
  session->grow(4);
  session->write(0, pattern(1000, 1));
  Served::flush(*session);
  first.client.hold();
  Served successor{second};
  auto writer = successor.session(Publish::on_write);
  CHECK((read_from(*writer, 0, 1000) == pattern(1000, 1)));
  writer->write(0, pattern(1000, 2));
  Served::flush(*writer);
  // No answer from the past, not even one that is in memory.
  CHECK_THROWS_AS(read_from(*session, 0, 10), MemoryError);
  first.client.let_go();
  wait_until([&] { return thrown_by([&] { read_from(*session, 0, 10); }).code() == Errc::lease_lost; });
  CHECK(thrown_by([&] { session->write(0, pattern(1000, 3)); }).code() == Errc::lease_lost);
  session.reset();
  served.store.reset();
  CHECK((read_from(*writer, 0, 1000) == pattern(1000, 2)));
}

}  // namespace
}  // namespace pageserver::test
