// Huge ranges of zeros cost one entry, wherever they pass: the request, the index, reads, checkpoints, recovery.
#include <sys/stat.h>

#include <future>

#include "tests/unit/storage/engine_test.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t huge_pages = 1ull << 21;  // 128 GiB
constexpr std::uint64_t huge_bytes = huge_pages * page_size;
constexpr std::uint64_t middle = huge_bytes / 2;

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat found {};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  return static_cast<std::uint64_t>(found.st_blocks) * 512;
}

/// A checkpoint is about to make one hole of 39 pages.
class HoleHarness : public EngineHarness {
public:
  HoleHarness() {
    options.log_bytes = 128 << 10;
    open();
    session = writer();
    session->grow(40);
    session->zero(0, 39 * page_size);
    session->write(39 * page_size, filled(page_size, 3));
    start_flush(*session);
    while (sync_lane.run_one()) {
    }
  }
  /// Runs the checkpoint up to the step that makes the hole, `meanwhile` before the hole is there. Returns the bytes
  /// that the image takes on the disk before and after that step.
  std::pair<std::uint64_t, std::uint64_t> make_hole(const std::function<void()>& meanwhile) {
    std::uint64_t before = 0;
    bool made = false;
    files.before(Call::punch_hole, [&] {
      if (std::exchange(made, true)) return;
      before = allocated_bytes(path());
      meanwhile();
    });
    while (!made) REQUIRE(checkpoint_lane.run_one());
    files.before(Call::punch_hole, {});
    return {before, allocated_bytes(path())};
  }
  std::unique_ptr<storage::StoreSession> session;
};

}  // namespace

TEST_CASE_METHOD(EngineHarness, "engine: zeros over 128 GiB are read, held, described and checkpointed in few calls") {
  open();
  auto write = writer(GENERATE(Publish::on_write, Publish::on_flush));
  write->grow(huge_pages);
  write->write(middle, filled(100, 1));
  flush(*write);
  auto pin = reader(View::pinned);
  auto live = reader();
  write->zero(10, huge_bytes - 20);
  flush(*write);
  CHECK(store().stat(0).checkpoint_lag_bytes < 1 << 20);
  CHECK(read_from(*live, middle, 100) == filled(100, 0));
  CHECK(read_from(*live, 5 * page_size - 10, 3 * page_size) == filled(3 * page_size, 0));
  CHECK(read_from(*pin, middle, 100) == filled(100, 1));
  std::uint64_t until = 0;
  CHECK(live->data_ranges(0, huge_bytes, 10, until).empty());
  CHECK(until == huge_bytes);
  CHECK(pin->data_ranges(0, huge_bytes, 10, until).size() == 1);
  CHECK(pin->refresh().changed == std::vector<ByteRange>{{10, huge_bytes - 20}});
  write->write(middle + page_size + 3, filled(7, 2));
  flush(*write);
  CHECK(read_from(*live, middle + page_size, 12)[3] == std::byte{2});
  CHECK(read_from(*pin, middle + page_size, 12) == filled(12, 0));
  const auto calls = [&] {
    return files.calls(Call::punch_hole) + files.calls(Call::write) + files.calls(Call::reserve);
  };
  const auto before = calls();
  write.reset();
  pin.reset();
  live.reset();
  close();
  CHECK(calls() - before < 300);
  CHECK(std::filesystem::file_size(path()) == huge_bytes);
  open();
  CHECK(read_from(*reader(), middle + page_size + 2, 3) ==
        std::vector<std::byte>{std::byte{0}, std::byte{2}, std::byte{2}});
}

TEST_CASE_METHOD(EngineHarness,
                 "engine: a checkpoint of huge zeros goes in bounded steps that leave room for a writer") {
  options.log_bytes = 64 << 10;
  open();
  writer()->grow(huge_pages);
  // What has no data takes one step, however much it is.
  for (std::uint64_t i = 0; i < 40; ++i) writer()->write(i * 40'000 * page_size, filled(100, 3));
  close();
  open();
  const auto write = writer();
  write->zero(0, huge_bytes);
  write->write(middle, filled(40'000, 1));
  start_flush(*write);
  int steps = 0;
  while (sync_lane.run_one()) {
  }
  for (; checkpoint_lane.run_one(); ++steps) {
    const auto punched = files.calls(Call::punch_hole);
    if (!checkpoint_lane.run_one()) break;
    CHECK(files.calls(Call::punch_hole) - punched <= 20);
    // The blocks that a write needs are there, whatever hole was made meanwhile.
    if (steps % 8 == 0)
      write->write((static_cast<std::uint64_t>(steps) % 100) * 20'000 * page_size + 5, filled(100, 2));
  }
  CHECK(steps > 10);
  CHECK(steps < 200);
  CHECK(store().stat(0).checkpoint_lag_bytes < options.log_bytes);
}

TEST_CASE_METHOD(EngineHarness, "engine: huge zeros are recovered in few calls") {
  open();
  auto write = writer();
  write->grow(huge_pages);
  write->write(middle, filled(100, 1));
  write->zero(0, huge_bytes);
  write->write(middle + 50, filled(10, 2));
  kill();
  const auto before = files.calls(Call::punch_hole) + files.calls(Call::write);
  open();
  CHECK(files.calls(Call::punch_hole) + files.calls(Call::write) - before < 20);
  CHECK(read_from(*reader(), middle, 51)[50] == std::byte{2});
  CHECK(read_from(*reader(), middle, 50) == filled(50, 0));
}

TEST_CASE_METHOD(EngineHarness, "engine: where no holes can be made, zeros over many pages are written page by page") {
  files.fail(Call::punch_hole, EOPNOTSUPP);
  options.checkpoint_step_bytes = 4 * page_size;
  open();
  auto write = writer();
  write->grow(64);
  write->write(0, filled(64 * page_size, 1));
  write->zero(page_size / 2, 60 * page_size);
  const bool killed = GENERATE(false, true);
  flush(*write);
  write.reset();
  if (killed) {
    kill();
    open();
  }
  close();
  auto expected = filled(64 * page_size, 1);
  std::fill_n(expected.begin() + page_size / 2, 60 * page_size, std::byte{0});
  CHECK(image() == expected);
}

TEST_CASE_METHOD(EngineHarness, "engine: a hole leaves the blocks of the pages that a commit on its way needs") {
  options.log_bytes = 64 << 10;
  options.inline_commit_bytes = 0;
  open();
  auto first = writer();
  first->grow(40);
  first->write(0, filled(20'000, 1));
  first->zero(0, 40 * page_size);
  flush(*first);
  first->zero(0, 40 * page_size);
  first->write(39 * page_size, filled(30'000, 3));
  start_flush(*first);
  while (sync_lane.run_one()) {
  }
  first.reset();
  const auto write = writer(Publish::on_flush);
  write->write(7 * page_size, filled(page_size, 2));
  // The checkpoint makes its holes while the commit is appended, after its blocks were reserved.
  bool ran = false;
  files.before(Call::write, [&] {
    if (std::exchange(ran, true)) return;
    while (checkpoint_lane.run_one()) {
    }
  });
  flush(*write);
  CHECK(ran);
  CHECK(allocated_bytes(path()) >= page_size);
  CHECK(read_from(*reader(), 7 * page_size, page_size) == filled(page_size, 2));
}

TEST_CASE_METHOD(HoleHarness,
                 "engine: the blocks of a page that is written while a hole is made there are reserved again") {
  const auto [before, after] = make_hole([&] { session->write(7 * page_size, filled(page_size, 2)); });
  CHECK(after >= before + page_size);
  CHECK(read_from(*reader(), 7 * page_size, page_size) == filled(page_size, 2));
}

TEST_CASE_METHOD(HoleHarness, "engine: a hole leaves the blocks of a write that began while it was made") {
  std::promise<void> begun, go_on;
  std::atomic<int> reserves{0};
  files.before(Call::reserve, [&, going = go_on.get_future().share()] {
    if (reserves++ != 0) return;
    begun.set_value();
    going.wait();
  });
  std::future<void> writing;
  const auto [before, after] = make_hole([&] {
    writing = std::async(std::launch::async, [&] { session->write(7 * page_size, filled(page_size, 2)); });
    begun.get_future().wait();
  });
  CHECK(after >= before + page_size);
  go_on.set_value();
  writing.get();
  CHECK(read_from(*reader(), 7 * page_size, page_size) == filled(page_size, 2));
}

}  // namespace pageserver::test
