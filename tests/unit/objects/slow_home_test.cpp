// A store whose home in a pool does not answer in time: what its sessions are told, and what takes effect all the same.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "storage/file/home.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/objects/object_machines.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

namespace pageserver::test {
namespace {

using storage::File;

constexpr std::chrono::milliseconds soon{100};

/// A store that does not wait long for its home, which answers what keeps the lease and nothing else.
struct Slow {
  explicit Slow(Publish publish) : session{served.session(publish)} {
    session->grow(40);
    session->write(0, pattern(300'000, 1));
    Served::flush(*session);
  }
  std::unique_ptr<storage::StoreSession> reader() { return open_now(*served.store, session_request(Access::read)); }
  /// Once what the last one had under way has an outcome.
  std::unique_ptr<storage::StoreSession> next_writer(Publish publish) {
    std::unique_ptr<storage::StoreSession> next;
    wait_until([&] {
      try {
        next = served.session(publish);
        return true;
      } catch (const MemoryError&) {
        return false;
      }
    });
    return next;
  }
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

/// Files of this machine under a lease that a test ends.
class LeasedFiles final : public FaultyFileSystem {
public:
  storage::IoResult home_of(int, storage::FileHome& home) override {
    home.lease = lease;
    home.name = "ceph:pool/a.img";
    return {0, 0};
  }
  const std::shared_ptr<storage::HomeLease> lease = std::make_shared<storage::HomeLease>();
};

TEST_CASE("home: an owner that is followed while it looks at its files says so, and not what became of them") {
  TempDir dir;
  LeasedFiles files;
  files.lease->renew(INT64_MAX);
  storage::EngineOptions options;
  options.home_timeout = soon;
  storage::ThreadBackground sync_lane, checkpoint_lane;
  std::atomic<bool> followed{false};
  // The next owner has replayed the log, and removes it.
  files.before(Call::status, [&] {
    if (!followed.exchange(false)) return;
    std::filesystem::remove(dir.file("a.img.log.0000000001"));
    files.lease->lose("daemon b has it");
  });
  const auto store = storage::open_engine(files, dir.file("a.img"), sync_lane, checkpoint_lane, options);
  const auto session = open_now(*store, session_request(Access::write));
  session->grow(1);
  session->write(0, pattern(1000));
  REQUIRE(std::filesystem::exists(dir.file("a.img.log.0000000001")));
  CHECK(store->stat(1'000).image_warning.empty());
  followed = true;
  check_error(thrown_by([&] { static_cast<void>(store->stat(1'000)); }), Errc::lease_lost, {"daemon b has it"});
  CHECK_FALSE(followed);
}

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
  const auto next = slow.next_writer(Publish::on_flush);
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
  const auto next = slow.next_writer(Publish::on_write);
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

TEST_CASE("home: files whose objects do not answer hold up no other file of the pool") {
  ObjectCluster cluster;
  Machine machine{cluster, Slow::patient};
  // As many as have all that may be under way in a pool.
  constexpr std::size_t files = 8;
  std::vector<File> held;
  for (std::size_t i = 0; i < files; ++i) held.push_back(machine.locked("a" + std::to_string(i) + ".img"));
  const File other = machine.locked("b.img");
  other.truncate(8 << 20);
  other.sync_data();
  std::vector<std::string> objects_of_held;
  for (const File& file : held) {
    file.truncate(16 << 20);
    objects_of_held.push_back(storage::run_object(file.status().inode, 0).substr(0, 27));
  }
  machine.client.hold([&](const std::string& object) {
    return std::any_of(objects_of_held.begin(), objects_of_held.end(),
                       [&](const std::string& prefix) { return object.starts_with(prefix); });
  });
  // All that may be under way in a pool, and what waits for it. Each run is made before it is written.
  std::vector<std::thread> writers;
  for (const File& file : held)
    writers.emplace_back([&file] {
      const auto data = pattern(1 << 20, 1);
      for (std::uint64_t i = 0; i < 10; ++i) file.write(i << 20, data);
    });
  wait_until([&] { return machine.client.waiting() >= 2 * 64; });
  other.write(0, pattern(3 << 20, 2));
  other.sync_data();
  CHECK((content(other, 0, 3 << 20) == pattern(3 << 20, 2)));
  machine.client.let_go();
  for (std::thread& writer : writers) writer.join();
  for (const File& file : held) file.sync_data();
}

}  // namespace
}  // namespace pageserver::test
