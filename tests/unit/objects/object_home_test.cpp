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

/// A log of which 1,000 bytes are written, with the owner's epoch, and then so many more: the first of those is under
/// way, and held.
struct Writing {
  explicit Writing(int writes = 16) : image{machine.locked("db.img")} {
    log = machine.folder().create_file(name, 0640, "make");
    log.reserve(0, 4 << 20);
    append();
    log.sync_data();
    hold_runs();
    for (int i = 0; i < writes; ++i) append();
  }
  void hold_runs() {
    machine.client.hold([](const std::string& object) { return object.size() == storage::run_object(0, 0).size(); });
  }
  void append() {
    const auto bytes = pattern(1000, static_cast<unsigned>(expected.size()));
    log.write(expected.size(), bytes);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> found(Machine& by) {
    return content(by.folder().open_file(name, O_RDONLY, 0, "open"), 0, expected.size());
  }

  static constexpr const char* name = "db.img.log.0000000001";
  ObjectCluster cluster;
  Machine machine{cluster};
  File image, log;
  std::vector<std::byte> expected;
};

TEST_CASE("home: writes that adjoin and come while one is under way become one operation") {
  Writing writing;
  CHECK(writing.machine.client.waiting() == 1);
  const std::uint64_t before = writing.cluster.count(&ObjectCluster::changes);
  writing.machine.client.let_go();
  writing.log.sync_data();
  CHECK(writing.cluster.count(&ObjectCluster::changes) == before + 2);
  CHECK(content(writing.log, 0, 20'000) == writing.expected);
  // One that does not adjoin goes by itself, behind what was gathered before it; and so does one over the bound.
  writing.hold_runs();
  for (int i = 0; i < 3; ++i) writing.append();
  const auto other = pattern(500, 7);
  writing.log.write(0, other);
  std::copy(other.begin(), other.end(), writing.expected.begin());
  writing.append();
  CHECK(writing.machine.client.waiting() == 3);
  writing.machine.client.let_go();
  writing.log.sync_data();
  CHECK(content(writing.log, 0, 30'000) == writing.expected);
  CHECK(writing.found(writing.machine) == writing.expected);
}

TEST_CASE("home: a read finds what was gathered, and so do a look at a file's data and its next owner") {
  Writing writing;
  SECTION("a read") {
    // Behind the ends of the last writes, which are kept.
    std::vector<std::byte> bytes(5000);
    std::thread reads{[&] { bytes.resize(writing.log.read_up_to(3000, bytes)); }};
    wait_until([&] { return writing.machine.client.waiting() >= 3; });
    writing.machine.client.let_go();
    reads.join();
    CHECK(std::equal(bytes.begin(), bytes.end(), writing.expected.begin() + 3000));
  }
  SECTION("a look") {
    std::uint64_t end = 0;
    std::thread looks{[&] { end = writing.log.next_data(0, 1 << 20); }};
    wait_until([&] { return writing.machine.client.waiting() >= 3; });
    writing.machine.client.let_go();
    looks.join();
    CHECK(end == 0);
  }
  SECTION("the next owner, after the lock was given up") {
    storage::FileHome mine;
    REQUIRE(writing.machine.files.home_of(writing.image.descriptor(), mine).ok());
    std::thread giver{[&] { CHECK(mine.control->give_up("the test") == 0); }};
    wait_until([&] { return mine.lease->lost(); });
    writing.machine.client.let_go();
    giver.join();
    Machine next{writing.cluster};
    const File taken = next.locked("db.img");
    CHECK(writing.found(next) == writing.expected);
  }
  SECTION("the next owner, after a close without a sync") {
    writing.log = File{};
    std::thread closes{[&] { writing.image = File{}; }};
    wait_until([&] { return writing.machine.client.waiting() >= 2; });
    writing.machine.client.let_go();
    closes.join();
    Machine next{writing.cluster};
    const File taken = next.locked("db.img");
    CHECK(writing.found(next) == writing.expected);
  }
}

TEST_CASE("home: what was gathered fails with what it was gathered for, and is told at the sync") {
  Writing writing;
  int expected = ENOSPC;
  SECTION("a full pool") {
    {
      const std::lock_guard lock{writing.cluster.mutex};
      writing.cluster.full = true;
    }
    writing.machine.client.let_go();
  }
  SECTION("changes that fail as they are handed over") {
    expected = EIO;
    writing.machine.client.fail_at_once(EIO);
    writing.machine.client.let_go();
  }
  SECTION("and all of those that follow") {
    expected = EIO;
    writing.machine.client.fail_at_once(EIO);
    const auto bytes = pattern(100);
    writing.log.write(500'000, bytes);  // what was gathered goes before it
    CHECK(writing.machine.files.write_at(writing.log.descriptor(), 500'100, bytes).error == EIO);
    writing.machine.client.let_go();
  }
  CHECK(writing.machine.files.sync_data(writing.log.descriptor()).error == expected);
}

TEST_CASE("home: a log that is removed takes what was gathered along, and its owner goes on") {
  Writing writing;
  storage::FileHome home;
  REQUIRE(writing.machine.files.home_of(writing.image.descriptor(), home).ok());
  const bool closes_first = GENERATE(false, true);
  if (closes_first) writing.log = File{};
  CHECK(writing.machine.folder().remove(Writing::name));
  writing.machine.client.let_go();
  if (!closes_first) writing.log = File{};
  wait_until([&] { return writing.machine.client.waiting() == 0; });
  writing.image.write(0, pattern(100));
  writing.image.sync_data();
  CHECK_FALSE(home.lease->lost());
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

TEST_CASE("home: what was read stays in memory within its share, and is never older than what was written") {
  ObjectCluster cluster;
  Machine machine{cluster};
  constexpr std::uint64_t page = 65536;
  base::MemoryShare share{8 * page, "the test"};
  {
    const File held = machine.locked("db.img");
    held.truncate(64 * page);
    held.write(0, pattern(64 * page, 1));
    held.sync_data();
    storage::FileHome home;
    REQUIRE(machine.files.home_of(held.descriptor(), home).ok());
    home.control->keep_in_memory(share);
    const auto reads = [&] {
      const std::lock_guard lock{cluster.mutex};
      return cluster.reads;
    };
    CHECK(content(held, 3 * page + 100, 5000) == sub_pattern(64 * page, 1, 3 * page + 100, 5000));
    const std::uint64_t cold = reads();
    for (int i = 0; i < 10; ++i) CHECK(content(held, 3 * page + 1, 60'000).size() == 60'000);
    CHECK(reads() == cold);
    CHECK(share.used() == page);
    // Written bytes are seen at once, and so is a hole.
    held.write(3 * page + 50, pattern(100, 2));
    CHECK(content(held, 3 * page + 50, 100) == pattern(100, 2));
    REQUIRE(machine.files.punch_hole(held.descriptor(), 3 * page, page).ok());
    CHECK(content(held, 3 * page, page) == std::vector<std::byte>(page));
    // All of it, in order and beyond what fits; and over the border of pages.
    for (std::uint64_t at = 4 * page; at < 64 * page; at += page)
      CHECK(content(held, at, page) == sub_pattern(64 * page, 1, at, page));
    CHECK(content(held, 10 * page - 7, 3 * page) == sub_pattern(64 * page, 1, 10 * page - 7, 3 * page));
    CHECK(share.used() <= 8 * page);
    CHECK(share.used() > 0);
  }
  CHECK(share.used() == 0);
}

TEST_CASE("home: pages that follow each other are fetched by few operations") {
  ObjectCluster cluster;
  Machine machine{cluster};
  constexpr std::uint64_t page = 65536;
  constexpr std::size_t pages = 64;
  base::MemoryShare share{1024 * page, "the test"};
  const File held = machine.locked("db.img");
  held.truncate(pages * page);
  // Three runs of four: the third is not there, and the last has bytes at its beginning alone.
  auto expected = pattern(pages * page, 1);
  std::fill(expected.begin() + 32 * page, expected.begin() + 48 * page, std::byte{0});
  std::fill(expected.begin() + 50 * page + 7, expected.end(), std::byte{0});
  held.write(0, std::span{expected}.first(32 * page));
  held.write(48 * page, std::span{expected}.subspan(48 * page, 2 * page + 7));
  held.sync_data();
  storage::FileHome home;
  REQUIRE(machine.files.home_of(held.descriptor(), home).ok());
  home.control->keep_in_memory(share);
  const std::uint64_t before = cluster.count(&ObjectCluster::reads);
  std::vector<std::byte> found;
  for (std::uint64_t at = 0; at < pages * page; at += page) {
    const auto bytes = content(held, at, page);
    found.insert(found.end(), bytes.begin(), bytes.end());
  }
  CHECK((found == expected));
  CHECK(cluster.count(&ObjectCluster::reads) - before <= 8);
}

TEST_CASE("home: reads that are announced are under way at the same time, and need not be repeated") {
  ObjectCluster cluster;
  Machine machine{cluster};
  constexpr std::uint64_t page = 65536;
  base::MemoryShare share{32 * page, "the test"};
  const File held = machine.locked("db.img");
  held.truncate(64 * page);
  held.write(0, pattern(64 * page, 1));
  held.sync_data();
  storage::FileHome home;
  REQUIRE(machine.files.home_of(held.descriptor(), home).ok());
  const std::vector<storage::FileRange> wanted{{40 * page + 5, 10}, {3 * page, page},        {9 * page, 2 * page},
                                               {20 * page, page},   {64 * page - 10, 1'000}, {1'000 * page, page}};
  machine.client.hold([](const std::string& object) {
    return object != storage::names_object && !object.starts_with("pageserver.lock.");
  });
  home.control->will_read(wanted);  // it has no memory yet
  CHECK(machine.client.waiting() == 0);
  home.control->keep_in_memory(share);
  const std::uint64_t before = cluster.count(&ObjectCluster::reads);
  home.control->will_read(wanted);
  home.control->will_read(wanted);
  CHECK(machine.client.waiting() == 5);  // two pages that adjoin are one operation; and one is behind the end
  machine.client.let_go();
  for (const std::uint64_t at : {40 * page, 3 * page, 10 * page, 9 * page, 20 * page, 63 * page})
    CHECK(content(held, at, page) == sub_pattern(64 * page, 1, at, page));
  CHECK(cluster.count(&ObjectCluster::reads) - before == 5);
  // More than there is room for: what comes first stays.
  const std::vector<storage::FileRange> all{{0, 64 * page}};
  home.control->will_read(all);
  CHECK(share.used() <= 32 * page);
  CHECK(content(held, 0, 64 * page) == pattern(64 * page, 1));
  // A write takes out what was fetched before it.
  home.control->will_read(std::vector<storage::FileRange>{{50 * page, page}});
  held.write(50 * page, pattern(page, 2));
  CHECK(content(held, 50 * page, page) == pattern(page, 2));
}

TEST_CASE("home: a run gets its owner's epoch once, and again from the next owner") {
  ObjectCluster cluster;
  Machine first{cluster}, second{cluster};
  {
    const File held = first.locked("db.img");
    held.truncate(2 << 20);
    for (unsigned i = 0; i < 20; ++i) {
      held.write(i * 1000, pattern(1000, i));
      held.sync_data();
    }
    CHECK(cluster.count(&ObjectCluster::epochs_set) == 1);
    held.write(1 << 20, pattern(1000));
    held.sync_data();
    CHECK(cluster.count(&ObjectCluster::epochs_set) == 2);
  }
  const File taken = second.locked("db.img");
  taken.write(0, pattern(1000, 99));
  taken.sync_data();
  CHECK(cluster.count(&ObjectCluster::epochs_set) == 3);
}

TEST_CASE("home: a file has so much under way and no more") {
  ObjectCluster cluster;
  Machine machine{cluster};
  constexpr std::uint64_t mib = 1 << 20;
  const File held = machine.locked("db.img");
  held.truncate(32 * mib);
  const File other = machine.folder().open_file("other.img", O_RDWR | O_CREAT, 0640, "open");
  other.truncate(mib);
  const auto is_run = [](const std::string& object) {
    return object != storage::names_object && !object.starts_with("pageserver.lock.");
  };
  wait_until([&] { return machine.client.waiting() == 0; });
  machine.client.hold(is_run);
  std::thread writer{[&] {
    for (std::uint64_t i = 0; i < 32; ++i) held.write(i * mib, pattern(mib, static_cast<unsigned>(i)));
  }};
  // Each run is made before it is written.
  constexpr std::size_t operations = 16;
  wait_until([&] { return machine.client.waiting() >= operations; });
  other.write(0, pattern(1000));  // is not held up
  machine.client.let_go();
  writer.join();
  held.sync_data();
  CHECK(machine.client.waiting_most() <= operations + 6);
  CHECK(content(held, 31 * mib, mib) == pattern(mib, 31));
}

TEST_CASE("home: a commit is one operation of hardly more than its bytes, and to grow takes no operations a page") {
  ObjectCluster cluster;
  Machine machine{cluster, ObjectFileSystem::Times{60'000, 60'000, true}};
  Served served{machine};
  auto session = served.session();
  session->grow(64);
  session->write(0, pattern(4096));
  Served::flush(*session);
  constexpr std::uint64_t commits = 100;
  const std::uint64_t changes = cluster.count(&ObjectCluster::changes);
  const std::uint64_t bytes = cluster.count(&ObjectCluster::bytes_written);
  const std::uint64_t reads = cluster.count(&ObjectCluster::reads);
  for (std::uint64_t i = 0; i < commits; ++i) {
    // Zeros at the end, as most pages have: nothing is looked at for them.
    auto data = pattern(4096, static_cast<unsigned>(i));
    std::fill(data.begin() + 1000, data.end(), std::byte{0});
    session->write(i % 64 * 65536, data);
    Served::flush(*session);
  }
  CHECK(cluster.count(&ObjectCluster::changes) - changes <= commits + 2);
  CHECK(cluster.count(&ObjectCluster::bytes_written) - bytes <= commits * 5000);
  CHECK(cluster.count(&ObjectCluster::reads) == reads);
  const std::uint64_t before = cluster.count(&ObjectCluster::changes);
  session->grow(10ull << 14);  // 10 GiB
  Served::flush(*session);
  wait_until([&] { return machine.client.waiting() == 0; });
  CHECK(cluster.count(&ObjectCluster::changes) - before <= 4);
  session.reset();
  served.store->close();
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
