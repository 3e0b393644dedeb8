#include "storage/engine/log_check.hpp"

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

#include "tests/crash/simulated_file_system.hpp"
#include "tests/crash/stepped_background.hpp"

namespace pageserver::test {
namespace {

using storage::LogCheck;
using storage::LogSegment;
using storage::LogSegmentRef;

constexpr std::uint64_t length = 2 * (1u << 20) + 5000;

struct Log {
  SimulatedFileSystem files{7};
  storage::Folder folder;
  std::vector<LogSegmentRef> segments;
  SteppedBackground lane;

  Log() {
    files.make_directory("/data");
    folder = storage::Folder::open(files, "/data");
    for (const char* name : {"a", "b", "c"}) {
      segments.push_back(std::make_shared<LogSegment>());
      segments.back()->file = folder.open_file(name, O_RDWR | O_CREAT, 0600, "open");
      fill(*segments.back(), 7);
    }
  }
  static void fill(const LogSegment& segment, std::size_t seed, std::uint64_t from = 0) {
    std::vector<std::byte> data(length - from);
    for (std::size_t at = 0; at < data.size(); ++at) data[at] = static_cast<std::byte>(at * 7 + at / 4096 + seed);
    segment.file.write(from, data);
  }
  /// From now on memory and disk differ, and no sync says so.
  void lose(const LogSegment& segment, std::uint64_t from = 0) {
    segment.file.sync_data();
    fill(segment, 8, from);
    files.fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
    CHECK_THROWS(segment.file.sync_data());
    files.fault = nullptr;
  }
};

}  // namespace

TEST_CASE("what a lane has read back is not read again") {
  Log log;
  LogCheck check{log.folder};
  check.begin(log.segments, &log.lane);
  CHECK(log.lane.step());
  log.files.fault = [](const CallInfo&) { return EIO; };
  for (const LogSegmentRef& segment : log.segments) CHECK(check.has(*segment, length));
}

TEST_CASE("without a lane, and before it comes, who asks reads back") {
  Log log;
  const bool with_lane = GENERATE(false, true);
  {
    LogCheck check{log.folder};
    check.begin(log.segments, with_lane ? &log.lane : nullptr);
    log.lose(*log.segments[1]);
    CHECK(check.has(*log.segments[0], length));
    CHECK_FALSE(check.has(*log.segments[1], length));
    CHECK_FALSE(check.has(*log.segments[2], length + 1));
  }
  const std::weak_ptr<LogSegment> last{log.segments.back()};
  log.segments.clear();
  CHECK(last.expired());  // the lane's task, which may be there still, keeps no file open
  while (log.lane.step()) {
  }
}

TEST_CASE("what differs behind the end that counts does not count, whoever read it") {
  Log log;
  LogCheck check{log.folder};
  log.lose(*log.segments[0], length - 100);
  check.begin(log.segments, &log.lane);
  CHECK(log.lane.step());
  CHECK(check.has(*log.segments[0], length - 100));
  CHECK_FALSE(check.has(*log.segments[0], length));
}

TEST_CASE("what a lane could not sync is not there, whatever a later sync says") {
  Log log;
  LogCheck check{log.folder};
  log.files.fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
  check.begin(log.segments, &log.lane);
  CHECK(log.lane.step());
  log.files.fault = nullptr;
  for (const LogSegmentRef& segment : log.segments) CHECK_FALSE(check.has(*segment, length));
}

TEST_CASE("files that nobody will ask for are let go") {
  Log log;
  LogCheck check{log.folder};
  check.begin(log.segments, &log.lane);
  if (GENERATE(false, true)) CHECK(log.lane.step());
  const std::weak_ptr<LogSegment> last{log.segments.back()};
  log.segments.pop_back();
  check.keep_only(log.segments);
  CHECK(last.expired());
  for (const LogSegmentRef& segment : log.segments) CHECK(check.has(*segment, length));
}

TEST_CASE("a check ends while its lane is reading") {
  Log log;
  std::optional<LogCheck> check{std::in_place, log.folder};
  check->begin(log.segments, &log.lane);
  std::jthread lane{[&] { log.lane.step(); }};
  check.reset();
}

}  // namespace pageserver::test
