// A store's home in a pool of objects: the same contract as files, and nothing of an owner that another has followed.
#include "tests/support/catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
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
#include "tests/unit/objects/object_model.hpp"
#include "tests/unit/storage/store_client.hpp"

namespace pageserver::test {
namespace {

using storage::File;
using storage::Folder;
using storage::LockKind;
using storage::ObjectFileSystem;

// Short leases, so that a test of an owner that is gone does not take seconds.
constexpr ObjectFileSystem::Times quick{300, 50, true};
constexpr ObjectFileSystem::Times without_fence{300, 50, false};

/// One machine.
struct Machine {
  explicit Machine(ObjectCluster& cluster, const ObjectFileSystem::Times& times = quick)
      : client{cluster}, files{client, times} {}
  ObjectClient client;
  ObjectFileSystem files;

  Folder folder() { return Folder::open(files, "ceph:pool"); }
  File locked(const std::string& name) {
    File file = folder().open_file(name, O_RDWR | O_CREAT, 0640, "open");
    REQUIRE(files.lock(file.descriptor(), LockKind::exclusive).ok());
    return file;
  }
};

std::vector<std::byte> content(const File& file, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> bytes(length);
  bytes.resize(file.read_up_to(offset, bytes));
  return bytes;
}

/// The bytes from `offset` on of pattern(size, seed).
std::vector<std::byte> sub_pattern(std::size_t size, std::uint64_t seed, std::size_t offset, std::size_t length) {
  const auto all = pattern(size, static_cast<unsigned>(seed));
  return {all.begin() + static_cast<std::ptrdiff_t>(offset),
          all.begin() + static_cast<std::ptrdiff_t>(offset + length)};
}

/// A store of the engine on some machine.
struct Served {
  explicit Served(Machine& machine, std::string path = "ceph:pool/db.img",
                  std::chrono::milliseconds home_timeout = std::chrono::seconds{5}) {
    storage::EngineOptions options;
    options.home_timeout = home_timeout;
    options.salt = base_salt++;
    store = storage::open_engine(machine.files, path, sync_lane, checkpoint_lane, options);
  }
  std::unique_ptr<storage::StoreSession> session(Publish publish = Publish::on_flush) {
    auto request = session_request(Access::write, "writer");
    request.publish = publish;
    return open_now(*store, request);
  }
  static void flush(storage::StoreSession& session) {
    std::mutex mutex;
    bool done = false;
    std::exception_ptr failed;
    session.flush([&](std::exception_ptr error, const Version&) {
      const std::lock_guard lock{mutex};
      failed = error;
      done = true;
    });
    wait_until([&] {
      const std::lock_guard lock{mutex};
      return done;
    });
    if (failed) std::rethrow_exception(failed);
  }

  static inline std::atomic<std::uint64_t> base_salt{77};
  storage::ThreadBackground sync_lane, checkpoint_lane;
  std::unique_ptr<storage::Store> store;
};

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
  const File log = first.folder().create_file("db.img.log.0000000001", 0640, "make");
  log.reserve(0, 16 << 20);
  log.write(0, pattern(5000));
  log.sync_data();
  first.client.hold();
  const File taken = second.locked("db.img");
  CHECK(second.folder().remove("db.img.log.0000000001"));
  wait_until([&] {
    for (const auto& [name, bytes] : cluster.picture())
      if (name.ends_with("00000002")) return false;  // its runs go in the background
    return true;
  });
  const std::size_t objects = cluster.picture().size();
  first.client.let_go();
  // A run that it never wrote to: there must be no way to believe that this was kept.
  const std::vector<std::byte> bytes(100);
  static_cast<void>(first.files.write_at(log.descriptor(), 9 << 20, bytes));
  CHECK(first.files.sync_data(log.descriptor()).error == storage::taken_over_error);
  CHECK(cluster.picture().size() == objects);
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

/// Runs of files: names and locks are other objects.
bool is_run(const std::string& object) {
  return object != storage::names_object && !object.starts_with("pageserver.lock.");
}

constexpr std::chrono::milliseconds soon{100};

/// A store that does not wait long for its home, which answers what keeps the lease and nothing else.
struct Slow {
  explicit Slow(Publish publish) : session{served.session(publish)} {
    session->grow(40);
    session->write(0, pattern(300'000, 1));
    Served::flush(*session);
  }
  std::unique_ptr<storage::StoreSession> reader() { return open_now(*served.store, session_request(Access::read)); }
  void hold_runs() { machine.client.hold(&is_run); }
  static Errc refusal(const std::function<void()>& call) { return errc_of(thrown_by(call)); }
  static Errc errc_of(const MemoryError& error) { return error.errc(); }

  // A lease that lasts, however slow the machine: what ends a call is the time that it waits.
  static constexpr ObjectFileSystem::Times patient{60'000, 500, true};

  ObjectCluster cluster;
  Machine machine{cluster, patient};
  Served served{machine, "ceph:pool/db.img", soon};
  std::unique_ptr<storage::StoreSession> session;
};

TEST_CASE("home: a flush that its home does not answer is answered in time, and takes effect later in its order") {
  Slow slow{Publish::on_flush};
  const std::uint64_t seen = slow.reader()->version().number;
  slow.hold_runs();
  slow.session->write(0, pattern(1000, 2));
  const auto began = std::chrono::steady_clock::now();
  check_error(thrown_by([&] { Served::flush(*slow.session); }), Errc::timed_out, {"home_timeout=100 ms"});
  CHECK(std::chrono::steady_clock::now() - began >= soon);
  // The session does not know what it has, and says so at once.
  const auto again = std::chrono::steady_clock::now();
  std::vector<std::byte> bytes(1000);
  CHECK(Slow::refusal([&] { slow.session->read(0, bytes); }) == Errc::timed_out);
  CHECK(Slow::refusal([&] { slow.session->write(0, bytes); }) == Errc::timed_out);
  CHECK(Slow::refusal([&] { slow.session->discard(); }) == Errc::timed_out);
  CHECK(Slow::refusal([&] { Served::flush(*slow.session); }) == Errc::timed_out);
  CHECK(slow.session->private_bytes() != 0);
  CHECK(std::chrono::steady_clock::now() - again < soon);
  // Nobody sees it, and nobody publishes before it.
  CHECK(slow.reader()->version().number == seen);
  slow.machine.client.let_go();
  wait_until([&] { return read_from(*slow.reader(), 0, 1000) == pattern(1000, 2); });
  // The same session goes on.
  wait_until([&] {
    try {
      return slow.session->private_bytes() == 0 && read_from(*slow.session, 0, 1000) == pattern(1000, 2);
    } catch (const MemoryError&) {
      return false;
    }
  });
  slow.session->write(0, pattern(1000, 3));
  Served::flush(*slow.session);
  CHECK((read_from(*slow.reader(), 0, 1000) == pattern(1000, 3)));
  slow.session.reset();
  slow.served.store->close();
}

TEST_CASE("home: a session that ends while its flush is not answered leaves the lease once that has an outcome") {
  Slow slow{Publish::on_flush};
  slow.hold_runs();
  slow.session->write(0, pattern(1000, 2));
  CHECK(Slow::refusal([&] { Served::flush(*slow.session); }) == Errc::timed_out);
  slow.session.reset();
  CHECK(Slow::refusal([&] { slow.served.session(); }) == Errc::busy);
  slow.machine.client.let_go();
  std::unique_ptr<storage::StoreSession> next;
  wait_until([&] {
    try {
      next = slow.served.session();
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  });
  CHECK((read_from(*next, 0, 1000) == pattern(1000, 2)));
}

TEST_CASE("home: a publish that its home holds up is answered in time, and takes effect later") {
  Slow slow{Publish::on_write};
  // Names do not answer: a record that needs another file of the log waits for one.
  slow.machine.client.hold([](const std::string& object) { return object == storage::names_object; });
  const auto data = pattern(1 << 20, 2);
  std::uint64_t written = 0;
  std::optional<MemoryError> refused;
  const auto began = std::chrono::steady_clock::now();
  while (!refused) {
    try {
      slow.session->write(0, data);
      ++written;
    } catch (const MemoryError& error) {
      refused = error;
    }
    REQUIRE(written < 200);
  }
  check_error(*refused, Errc::timed_out, {"home_timeout=100 ms"});
  CHECK(std::chrono::steady_clock::now() - began >= soon);
  CHECK(Slow::refusal([&] { slow.session->view(); }) == Errc::timed_out);
  CHECK(Slow::refusal([&] { slow.session->grow(1); }) == Errc::timed_out);
  const std::uint64_t seen = slow.reader()->version().number;
  slow.session.reset();
  slow.machine.client.let_go();
  // It is one version more, and the next writer comes after it.
  std::unique_ptr<storage::StoreSession> next;
  wait_until([&] {
    try {
      next = slow.served.session(Publish::on_write);
      return true;
    } catch (const MemoryError&) {
      return false;
    }
  });
  CHECK(next->version().number == seen + 1);
  CHECK((read_from(*next, 0, 1 << 20) == data));
}

TEST_CASE("home: a read that its home does not answer ends in time, and touches the reader's memory no more") {
  ObjectCluster cluster;
  Machine machine{cluster, Slow::patient};
  {
    Served before{machine};
    auto session = before.session();
    session->grow(40);
    session->write(0, pattern(2'000'000, 1));
    Served::flush(*session);
    session.reset();
    before.store->close();
  }
  base::MemoryShare share{4 * 65536, "the test"};
  for (const bool cached : {false, true}) {
    storage::ThreadBackground sync_lane, checkpoint_lane;
    storage::EngineOptions options;
    options.home_timeout = soon;
    options.salt = Served::base_salt++;
    if (cached) options.home_memory = &share;
    const auto store = storage::open_engine(machine.files, "ceph:pool/db.img", sync_lane, checkpoint_lane, options);
    const auto reader = open_now(*store, session_request(Access::read));
    machine.client.hold(&is_run);
    std::vector<std::byte> bytes(600'000, std::byte{7});
    const auto began = std::chrono::steady_clock::now();
    check_error(thrown_by([&] { reader->read(1000, bytes); }), Errc::timed_out, {"has not answered in time"});
    CHECK(std::chrono::steady_clock::now() - began >= soon);
    bytes.assign(bytes.size(), std::byte{7});
    CHECK(Slow::refusal([&] {
            std::uint64_t until = 0;
            static_cast<void>(reader->data_ranges(0, 2'000'000, 10, until));
          }) == Errc::timed_out);
    machine.client.let_go();
    wait_until([&] { return machine.client.waiting() == 0; });
    CHECK((bytes == std::vector<std::byte>(600'000, std::byte{7})));
    wait_until([&] {
      try {
        return read_from(*reader, 1000, 600'000) == sub_pattern(2'000'000, 1, 1000, 600'000);
      } catch (const MemoryError&) {
        return false;
      }
    });
  }
}

TEST_CASE("home: a store closes once what its home held up has ended") {
  Slow slow{Publish::on_write};
  slow.hold_runs();
  slow.session->write(0, pattern(1000, 2));
  CHECK(Slow::refusal([&] { Served::flush(*slow.session); }) == Errc::timed_out);
  slow.session.reset();
  std::atomic<bool> closed{false};
  std::thread closing{[&] {
    slow.served.store->close();
    closed = true;
  }};
  CHECK_FALSE(closed);
  slow.machine.client.let_go();
  closing.join();
  Served anew{slow.machine};
  CHECK((read_from(*anew.session(), 0, 1000) == pattern(1000, 2)));
}

TEST_CASE("home: a file whose objects do not answer holds up no other file of the pool") {
  ObjectCluster cluster;
  Machine machine{cluster, Slow::patient};
  const File held = machine.locked("a.img");
  const File other = machine.locked("b.img");
  held.truncate(80 << 20);
  other.truncate(8 << 20);
  held.sync_data();
  other.sync_data();
  const auto entries = [&](const File& file) { return file.status().inode; };
  const std::string objects_of_held = storage::run_object(entries(held), 0).substr(0, 27);
  machine.client.hold([&](const std::string& object) { return object.starts_with(objects_of_held); });
  // All that may be under way in a pool, and what waits for it.
  std::thread writer{[&] {
    const auto data = pattern(1 << 20, 1);
    for (std::uint64_t i = 0; i < 70; ++i) held.write(i << 20, data);
  }};
  wait_until([&] { return machine.client.waiting() >= 64; });
  other.write(0, pattern(3 << 20, 2));
  other.sync_data();
  CHECK((content(other, 0, 3 << 20) == pattern(3 << 20, 2)));
  machine.client.let_go();
  writer.join();
  held.sync_data();
}

}  // namespace
}  // namespace pageserver::test
