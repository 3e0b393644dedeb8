// Which operations a store's home asks of a pool of objects: how many, how large, how many of them at once, and what is
// read from memory instead.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/memory_share.hpp"
#include "storage/file/home.hpp"
#include "storage/objects/object_file_system.hpp"
#include "tests/support/wait.hpp"
#include "tests/unit/objects/object_machines.hpp"

namespace pageserver::test {
namespace {

using storage::File;

constexpr std::uint64_t page = 65536;

/// An image of 64 pages, pattern(64 * page, 1), that a machine has locked.
struct Whole {
  Whole() {
    held.truncate(64 * page);
    held.write(0, pattern(64 * page, 1));
    held.sync_data();
    REQUIRE(machine.files.home_of(held.descriptor(), home).ok());
  }

  ObjectCluster cluster;
  Machine machine{cluster};
  File held = machine.locked("db.img");
  storage::FileHome home;
};

TEST_CASE("home: what was read stays in memory within its share, and is never older than what was written") {
  base::MemoryShare share{8 * page, "the test"};
  {
    Whole whole;
    const File& held = whole.held;
    whole.home.control->keep_in_memory(share);
    const auto reads = [&] { return whole.cluster.count(&ObjectCluster::reads); };
    CHECK(content(held, 3 * page + 100, 5000) == sub_pattern(64 * page, 1, 3 * page + 100, 5000));
    const std::uint64_t cold = reads();
    for (int i = 0; i < 10; ++i) CHECK(content(held, 3 * page + 1, 60'000).size() == 60'000);
    CHECK(reads() == cold);
    CHECK(share.used() == page);
    // Written bytes are seen at once, and so is a hole.
    held.write(3 * page + 50, pattern(100, 2));
    CHECK(content(held, 3 * page + 50, 100) == pattern(100, 2));
    REQUIRE(whole.machine.files.punch_hole(held.descriptor(), 3 * page, page).ok());
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
  base::MemoryShare share{32 * page, "the test"};
  Whole whole;
  ObjectCluster& cluster = whole.cluster;
  Machine& machine = whole.machine;
  const File& held = whole.held;
  const storage::FileHome& home = whole.home;
  const std::vector<storage::FileRange> wanted{{40 * page + 5, 10}, {3 * page, page},        {9 * page, 2 * page},
                                               {20 * page, page},   {64 * page - 10, 1'000}, {1'000 * page, page}};
  machine.client.hold(is_run);
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

/// A log of which 1,000 bytes are written, with the owner's epoch, and then so many more: the first of those is under
/// way, and held.
struct Writing {
  explicit Writing(int writes = 16) : image{machine.locked("db.img")} {
    log = machine.folder().create_file(name, 0640, "make");
    log.reserve(0, 4 << 20);
    append();
    log.sync_data();
    machine.client.hold(is_run);
    for (int i = 0; i < writes; ++i) append();
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
  writing.machine.client.hold(is_run);
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

}  // namespace
}  // namespace pageserver::test
