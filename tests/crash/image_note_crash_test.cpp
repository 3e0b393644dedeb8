// What a log knows of its image after a crash: no image of ours is refused, whatever became of the clock and of the
// notes, and one that somebody else changed is.
#include <fcntl.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <vector>
#include "tests/support/catch.hpp"

#include "storage/engine/recovery.hpp"
#include "storage/log/log_format.hpp"
#include "tests/crash/simulated_file_system.hpp"
#include "tests/crash/stepped_store.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t hour = 3600 * second;
const std::string image_path = "/data/db.img";

std::string log_path(int number) { return image_path + ".log.000000000" + std::to_string(number); }

struct Machine : SteppedStore {
  explicit Machine(std::unique_ptr<SimulatedFileSystem> of = nullptr)
      : disk{of ? std::move(of) : std::make_unique<SimulatedFileSystem>(1)} {
    if (disk->find(image_path) == nullptr) disk->make_directory("/data");
  }
  ~Machine() {
    disk->observe = nullptr;
    drop();
  }

  void open() { SteppedStore::open(*disk, image_path); }
  void make_image(std::uint64_t pages) {
    open();
    auto session = writer();
    session->grow(pages);
    session.reset();
    close();
    open();
  }
  void close() {
    run_lanes();
    store->close();
    store.reset();
  }
  /// As somebody with an editor does it, after so long.
  void change_image(std::int64_t after_ns) {
    disk->pass_time(after_ns);
    const std::byte byte[] = {std::byte{9}};
    disk->find(image_path)->write(0, byte, disk->now_ns());
  }
  /// Tries every kind of crash at every call, until the end. What the store holds then must open.
  void crash_everywhere() {
    disk->observe = [this](const CallInfo& info) {
      if (info.call == Call::status || refused) return;
      for (const Crash crash : {Crash::kill, Crash::power, Crash::power, Crash::power_lost, Crash::power_kept}) {
        Machine after{disk->after(crash, ++seed)};
        after.disk->observe = nullptr;
        ++crashes;
        try {
          after.open();
        } catch (const MemoryError& error) {
          refused = true;
          FAIL_CHECK("after " << to_string(info.call) << " of " << info.path << ": " << error.what());
        }
      }
    };
  }

  std::unique_ptr<SimulatedFileSystem> disk;
  std::uint64_t seed = 0;
  std::uint64_t crashes = 0;
  bool refused = false;
};

void check_refused(std::unique_ptr<SimulatedFileSystem> disk) {
  Machine after{std::move(disk)};
  check_error(thrown_by([&] { after.open(); }), Errc::damaged, {"was written for an image with", "--adopt"});
}

}  // namespace

TEST_CASE("image note: whatever the clock does, and however long nothing happens, no crash leaves an image refused") {
  const std::int64_t by = GENERATE(-hour, 3 * hour, -5 * second, 700 * second, 20 * second);
  const bool passes = GENERATE(false, true);
  if (passes && by < 0) return;
  INFO(by / second << " s, passes: " << passes);
  Machine machine;
  machine.make_image(8);
  machine.disk->torn_sector_bytes = 4096;
  machine.crash_everywhere();
  auto session = machine.writer();
  const auto change = [&](std::uint64_t page) { session->write(page * page_size, filled(5000, 1)); };
  change(0);
  machine.flush(*session);
  for (std::uint64_t page = 1; page < 6; ++page) {
    passes ? machine.disk->pass_time(by) : machine.disk->set_clock(page % 2 == 1 ? by : -by);
    change(page);
    if (page != 3) machine.flush(*session);
  }
  session.reset();
  machine.close();
  CHECK(machine.crashes > 400);
}

TEST_CASE("image note: a clock that is set back twice, by little and by much, leaves no image refused") {
  const std::int64_t first = GENERATE(-3 * second, -20 * second);
  const std::int64_t then = GENERATE(-hour, -6 * hour);
  INFO(first / second << " s, then " << then / second << " s");
  Machine machine;
  machine.make_image(8);
  machine.disk->pass_time(100 * second);
  auto session = machine.writer();
  const auto change = [&](std::uint64_t page) {
    session->write(page * page_size, filled(5000, 1));
    machine.flush(*session);
  };
  change(0);
  const std::int64_t highest = machine.disk->find(image_path)->modified_ns();
  machine.disk->set_clock(first);
  change(1);
  machine.crash_everywhere();
  machine.disk->set_clock(then);
  for (std::uint64_t page = 2; page < 5; ++page) change(page);
  CHECK(machine.disk->find(image_path)->modified_ns() < highest);
  machine.disk->observe = nullptr;
  CHECK(machine.crashes > 50);
}

TEST_CASE("image note: a kill after a failed sync that took a new file's header from memory leaves no image refused") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Machine machine{std::make_unique<SimulatedFileSystem>(seed)};
    machine.make_image(8);
    machine.options.segment_bytes = 32 << 10;
    machine.close();
    machine.open();
    auto session = machine.writer();
    session->write(0, filled(14000, 1));
    machine.flush(*session);
    REQUIRE(machine.disk->find(log_path(2)) == nullptr);
    machine.disk->drops_pages = true;
    session->write(page_size, filled(14000, 1));  // into pages without blocks: the image's time changes
    REQUIRE(machine.disk->find(log_path(2)) != nullptr);
    machine.disk->fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
    check_error(thrown_by([&] { machine.flush(*session); }), Errc::provider_error, {"since a sync failed"});
    machine.disk->fault = nullptr;
    Machine after{machine.disk->after(Crash::kill, seed)};
    after.open();
    session.reset();
  }
}

TEST_CASE("image note: where a loss of power took the newest file's note, an older file's is not believed") {
  Machine machine;
  machine.make_image(8);
  machine.options.segment_bytes = 32 << 10;
  machine.store->close();
  machine.open();
  const auto session = machine.writer();
  session->write(0, filled(10'000, 1));
  machine.flush(*session);
  machine.disk->pass_time(5 * hour);
  session->write(page_size, filled(10'000, 2));
  machine.flush(*session);
  REQUIRE(machine.disk->find(log_path(2)) != nullptr);
  REQUIRE(machine.disk->find(log_path(3)) == nullptr);
  const int blocks = GENERATE(0, 1, 2);
  INFO(blocks);
  using namespace storage::log_format;
  for (int block = 0; block < 2; ++block)
    if (blocks == 2 || block == blocks)
      machine.disk->find(log_path(2))
          ->write(note_in_segment_at + static_cast<std::uint64_t>(block) * block_bytes, filled(block_bytes, 7), 1);
  Machine after{machine.disk->after(Crash::power_kept, 1)};
  after.open();
  CHECK(read_from(*open_now(*after.store, session_request(Access::read)), page_size, 1) == filled(1, 2));
}

TEST_CASE("image note: a recovery that found no note, and is cut short itself, leaves no image refused") {
  Machine machine;
  machine.make_image(8);
  const auto session = machine.writer();
  session->write(0, filled(5000, 1));
  machine.flush(*session);
  machine.disk->set_clock(-3 * hour);
  session->write(page_size, filled(5000, 1));
  machine.flush(*session);
  using namespace storage::log_format;
  const int log = static_cast<int>(machine.disk->open(log_path(1), O_WRONLY, 0).value);
  REQUIRE(machine.disk->write_at(log, note_in_segment_at, filled(2 * block_bytes, 7)).ok());
  REQUIRE(machine.disk->sync_data(log).ok());
  machine.disk->close(log);
  Machine killed{machine.disk->after(Crash::kill, 1)};
  killed.crash_everywhere();
  killed.open();
  killed.disk->observe = nullptr;
  CHECK(killed.crashes > 20);
}

TEST_CASE("image note: a recovery whose disk refuses to sync the note once goes on with a copy of the log") {
  Machine machine;
  machine.make_image(8);
  const auto session = machine.writer();
  session->write(0, filled(5000, 1));
  machine.flush(*session);
  session->write(page_size, filled(5000, 2));
  const bool room = GENERATE(true, false);
  INFO("room for a copy: " << room);
  bool refused = false;
  Machine killed{machine.disk->after(Crash::kill, 1)};
  killed.disk->fault = [&](const CallInfo& info) {
    if (!room && info.call == Call::reserve && info.path.find(".spare.") != std::string::npos) return ENOSPC;
    if (refused || info.call != Call::sync_data || info.path != log_path(1)) return 0;
    refused = true;
    return EIO;
  };
  killed.crash_everywhere();
  killed.open();
  CHECK(refused);
  killed.disk->observe = nullptr;
  CHECK(read_from(*open_now(*killed.store, session_request(Access::read)), page_size, 5000) == filled(5000, 2));
}

TEST_CASE("image note: soon after a change without a flush, the image is settled") {
  Machine machine;
  machine.make_image(8);
  const auto session = machine.writer();
  session->write(0, filled(5000, 1));
  machine.run_lanes();
  Machine same{machine.disk->after(Crash::kill, 1)};
  CHECK_NOTHROW(same.open());
  machine.change_image(second);
  check_refused(machine.disk->after(Crash::kill, 1));
}

TEST_CASE("image note: changes in a row are settled by the next look at the store") {
  Machine machine;
  machine.make_image(8);
  const auto session = machine.writer();
  for (std::uint64_t page = 0; page < 8; ++page) session->write(page * page_size, filled(100, 1));
  machine.run_lanes();
  machine.store->stat(0);
  machine.change_image(second);
  check_refused(machine.disk->after(Crash::kill, 1));
}

TEST_CASE("image note: writing where the image has data already changes nothing of it") {
  Machine machine;
  machine.make_image(2);
  machine.writer()->write(0, filled(2 * page_size, 1));
  machine.close();
  machine.open();
  const std::uint64_t reserves = machine.disk->calls(Call::reserve);
  const std::int64_t modified_ns = machine.disk->find(image_path)->modified_ns();
  const auto session = machine.writer();
  session->write(100, filled(100, 2));
  session->write(page_size, filled(page_size, 3));
  CHECK(machine.disk->calls(Call::reserve) == reserves + 1);  // of the log
  CHECK(machine.disk->find(image_path)->modified_ns() == modified_ns);
}

TEST_CASE("image note: once a recovery has copied all of the log, the image is settled") {
  Machine machine;
  machine.make_image(8);
  const auto session = machine.writer();
  session->write(0, filled(5000, 1));
  machine.flush(*session);
  Machine killed{machine.disk->after(Crash::kill, 1)};
  std::unique_ptr<SimulatedFileSystem> again;
  killed.disk->observe = [&](const CallInfo& info) {
    // The first after the copying.
    if (info.call != Call::sync_data || info.path != image_path || again) return;
    again = killed.disk->after(Crash::kill, 1);
  };
  killed.open();
  REQUIRE(again);
  Machine changed{std::move(again)};
  Machine same{changed.disk->after(Crash::kill, 1)};
  CHECK_NOTHROW(same.open());
  changed.change_image(second);
  check_refused(changed.disk->after(Crash::kill, 1));
}

TEST_CASE("image note: what somebody else changes while the store is open is said, and never approved") {
  const int when = GENERATE(0, 1, 2);
  INFO(when);
  Machine machine;
  machine.make_image(8);
  auto session = machine.writer();
  session->write(0, filled(5000, 1));
  machine.flush(*session);
  machine.change_image(second);
  if (when == 0) machine.flush(*session);
  if (when == 1) session->write(3 * page_size, filled(5000, 2));  // changes the image
  if (when == 2) machine.store->stat(0);
  session->write(4 * page_size, filled(5000, 2));
  machine.flush(*session);
  const std::string warning = machine.store->stat(0).image_warning;
  INFO(warning);
  CHECK(warning.find("was written to from outside while the store wrote nothing") != std::string::npos);
  CHECK(warning.find("--adopt") != std::string::npos);
  check_refused(machine.disk->after(Crash::kill, 1));
  check_refused(machine.disk->after(Crash::power_kept, 1));
  Machine adopted{machine.disk->after(Crash::kill, 1)};
  storage::recover_log(*adopted.disk, image_path, true);
  adopted.open();
  CHECK(read_from(*open_now(*adopted.store, session_request(Access::read)), 4 * page_size, 1) == filled(1, 2));
  // In order it goes on as before.
  session.reset();
  machine.close();
  Machine closed{machine.disk->after(Crash::power_lost, 1)};
  CHECK_NOTHROW(closed.open());
}

}  // namespace pageserver::test
