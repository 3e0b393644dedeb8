// What a publish that the disk has no room for leaves of the room that there was.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <string>

#include "storage/file/folder.hpp"
#include "tests/crash/simulated_file_system.hpp"
#include "tests/crash/stepped_store.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

constexpr std::uint64_t block = 4096;

/// A store on a disk of which the test says how much is free.
struct FullDisk : SteppedStore {
  explicit FullDisk(std::uint64_t log_file_bytes) {
    options.log_bytes = 4 << 20;
    options.segment_bytes = log_file_bytes;
    disk.make_directory("/data");
    open();
  }
  ~FullDisk() { drop(); }
  void open() { SteppedStore::open(disk, "/data/db.img"); }
  void leave_free(std::uint64_t bytes) {
    forget_removed();
    disk.capacity_blocks = disk.blocks() + bytes / block;
  }
  std::uint64_t free_bytes() {
    forget_removed();
    return (*disk.capacity_blocks - disk.blocks()) * block;
  }
  /// What a removed file took is free once its removal lasts. A file system sees to that when room is short.
  void forget_removed() {
    const auto folder = storage::Folder::open(disk, "/data");
    folder.sync();
  }
  /// An image of `pages` pages, and no log.
  void make_image(std::uint64_t pages) {
    auto session = writer(Publish::on_write);
    session->grow(pages);
    session->write(0, filled(block, 1));  // of the first page, and nothing else of it
    flush(*session);
    session.reset();
    store->close();
    open();
  }

  SimulatedFileSystem disk{1};
};

void write_pages(storage::StoreSession& session, std::uint64_t first, std::uint64_t count, std::uint64_t stride,
                 int value) {
  for (std::uint64_t i = 0; i < count; ++i) session.write((first + i * stride) * page_size, filled(page_size, value));
}

}  // namespace

TEST_CASE("a transaction that the disk has no room for leaves the room to one that fits") {
  // The log has room for it, or makes a file for it; its pages adjoin or not; the image has them, or grows by them.
  const std::uint64_t log_file_bytes = GENERATE(std::uint64_t{64} << 10, std::uint64_t{1} << 20);
  const std::uint64_t stride = GENERATE(1u, 2u);
  const bool grows = GENERATE(false, true);
  INFO("log file " << log_file_bytes << " stride " << stride << " grows " << grows);
  FullDisk full{log_file_bytes};
  full.make_image(grows ? 1 : 32);
  auto session = full.writer(Publish::on_flush);
  session->write(0, filled(10, 2));
  full.flush(*session);
  // With what a checkpoint gives back of the log it is still too little.
  full.leave_free(log_file_bytes == page_size ? 600 << 10 : 0);
  std::uint64_t free_before = full.free_bytes();
  for (int times = 0; times < 3; ++times) {
    if (grows) session->grow(31);
    write_pages(*session, 1, 8, stride, 3);
    check_error(thrown_by([&] { full.flush(*session); }), Errc::no_space, {"ENOSPC"});
    session->discard();
    if (times == 0) {
      CHECK(full.free_bytes() >= free_before);
      free_before = full.free_bytes();
    }
    CHECK(full.free_bytes() == free_before);
  }
  if (grows) session->grow(31);
  write_pages(*session, 2, 2, stride, 4);
  full.flush(*session);
  full.disk.capacity_blocks.reset();
  session.reset();
  full.store->close();
  full.open();
  session = full.writer(Publish::on_write);
  CHECK(session->pages() == 32);
  std::vector<std::byte> expected(32 * page_size);
  std::fill_n(expected.begin(), block, std::byte{1});
  std::fill_n(expected.begin(), 10, std::byte{2});
  for (std::uint64_t i = 0; i < 2; ++i)
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>((2 + i * stride) * page_size), page_size, std::byte{4});
  CHECK((read_from(*session, 0, 32 * page_size) == expected));
}

TEST_CASE("a write that the disk has no room for leaves the room to one that fits, and what others need") {
  FullDisk full{64 << 10};
  full.make_image(8);
  auto session = full.writer(Publish::on_write);
  session->grow(8);
  // Published and not in the image yet: these blocks stay, among those of what is refused and past the file's end.
  session->write(4 * page_size, filled(10, 2));
  session->write(12 * page_size, filled(10, 2));
  full.flush(*session);
  full.leave_free(700 << 10);
  const std::uint64_t free_before = full.free_bytes();
  check_error(thrown_by([&] { session->write(0, filled(8 * page_size, 3)); }), Errc::no_space, {"ENOSPC"});
  // Of the first page it gives back more than it took: blocks that an earlier opening reserved, and nobody wrote to.
  // The log gave up what it had not used of its file, too.
  CHECK(full.free_bytes() >= free_before + page_size - block);
  session->write(page_size, filled(2 * page_size, 4));
  full.flush(*session);
  // A checkpoint needs no more than it has.
  full.leave_free(0);
  session.reset();
  CHECK_NOTHROW(full.store->close());
  full.disk.capacity_blocks.reset();
  full.open();
  session = full.writer(Publish::on_write);
  std::vector<std::byte> expected(16 * page_size);
  const auto put = [&](std::uint64_t offset, std::uint64_t length, int value) {
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(offset), length, static_cast<std::byte>(value));
  };
  put(0, block, 1), put(4 * page_size, 10, 2), put(12 * page_size, 10, 2), put(page_size, 2 * page_size, 4);
  CHECK((read_from(*session, 0, 16 * page_size) == expected));
}

TEST_CASE("a writer whose log gets no further file, for want of room or descriptors, goes on behind a checkpoint") {
  const int error = GENERATE(ENOSPC, EDQUOT, EMFILE, ENFILE);
  INFO("errno " << error);
  FullDisk full{64 << 10};
  full.make_image(8);
  auto session = full.writer(Publish::on_write);
  full.disk.fault = [&](const CallInfo& info) {
    const auto is_log = [](const std::string& name) { return name.find(".log.") != std::string::npos; };
    const auto names = full.disk.names("/data");
    const bool refuses =
        info.call == Call::open && is_log(info.path) && std::count_if(names.begin(), names.end(), is_log) > 1;
    return refuses ? error : 0;
  };
  int waits = 0;
  for (int i = 1; i <= 40; ++i) {
    for (bool written = false; !written;) {
      try {
        session->write(0, filled(20'000, i));
        written = true;
      } catch (const MemoryError& refused) {
        INFO(refused.what());
        bool room = false;
        REQUIRE(session->room_may_come([&] { room = true; }));
        ++waits;
        full.run_lanes();
        REQUIRE(room);
      }
    }
  }
  CHECK(waits > 2);
  CHECK(waits < 40);
  CHECK((read_from(*session, 0, 20'000) == filled(20'000, 40)));
  full.disk.fault = nullptr;
  session.reset();
  full.store->close();
}

}  // namespace pageserver::test
