#include "storage/file/disk_compare.hpp"

#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"

#include "tests/crash/simulated_file_system.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {
namespace {

using storage::disk_prefix;
using storage::File;
using storage::Folder;

constexpr std::uint64_t length = 3 * (1u << 20) + 5000;

std::vector<std::byte> pattern(std::uint64_t bytes) {
  std::vector<std::byte> data(bytes);
  for (std::size_t at = 0; at < data.size(); ++at) data[at] = static_cast<std::byte>(at * 7 + at / 4096);
  return data;
}

struct OnDisk {
  SimulatedFileSystem files{7};
  Folder folder;
  File file;

  OnDisk() {
    files.make_directory("/data");
    folder = Folder::open(files, "/data");
    file = folder.open_file("a", O_RDWR | O_CREAT, 0600, "open");
    file.write(0, pattern(length));
  }
  bool has(std::uint64_t until = length) {
    const std::atomic<std::uint64_t> limit{until};
    return disk_prefix(folder, "a", file, limit) >= until;
  }
  void fail_one_sync() {
    files.fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
    CHECK_THROWS(file.sync_data());
    files.fault = nullptr;
  }
};

}  // namespace

TEST_CASE("what a sync brought to the disk is there") {
  OnDisk disk;
  CHECK(disk.has());
  CHECK(disk.has(9000));
  CHECK(disk.has(length - 1));
  CHECK_FALSE(disk.has(length + 1));
}

TEST_CASE("what a failed sync left in memory alone is not there, whatever a later sync says") {
  OnDisk disk;
  REQUIRE(disk.has());
  const auto data = pattern(2 * length);
  disk.file.write(0, std::span{data}.subspan(1, length));
  disk.fail_one_sync();
  REQUIRE_NOTHROW(disk.file.sync_data());
  CHECK_FALSE(disk.has());
}

TEST_CASE("where nobody can tell, or the sync fails, it is not there") {
  OnDisk disk;
  disk.files.direct_reads = false;
  CHECK_FALSE(disk.has());
  disk.files.direct_reads = true;
  disk.files.fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
  CHECK_FALSE(disk.has());
  disk.files.fault = nullptr;
  disk.folder.rename("a", "b");
  CHECK_FALSE(disk.has());
  const File other = disk.folder.open_file("a", O_RDWR | O_CREAT, 0600, "open");
  other.write(0, pattern(length));
  other.sync_data();
  CHECK_FALSE(disk.has());
}

TEST_CASE("where reads past the page cache may come from it, nobody can tell") {
  OnDisk disk;
  REQUIRE(disk.has());
  disk.files.says_direct_reads = false;
  CHECK_FALSE(disk.has());
  disk.files.says_direct_reads = std::nullopt;
  disk.files.type = GENERATE(0x2FC12FC1u, 0x65735546u, 0x6969u);  // ZFS, FUSE, NFS
  CHECK_FALSE(disk.has());
  disk.files.says_direct_reads = true;
  CHECK(disk.has());
}

TEST_CASE("reads that are short or interrupted are gone on with") {
  OnDisk disk;
  disk.files.short_transfer_one_in = 3;
  CHECK(disk.has());
}

TEST_CASE("a real file that was synced is on its disk, where the file system can tell") {
  const TempDir folder;
  const Folder opened = Folder::open(storage::posix_file_system(), folder.path().string());
  const File file = opened.open_file("a", O_RDWR | O_CREAT, 0600, "open");
  file.write(0, pattern(length));
  const storage::IoResult direct = opened.try_open_file("a", O_RDONLY | O_DIRECT, 0);
  const bool can_tell = direct.ok();
  if (can_tell) storage::posix_file_system().close(static_cast<int>(direct.value));
  const std::atomic<std::uint64_t> limit{length + 1};
  CHECK(disk_prefix(opened, "a", file, limit) == (can_tell ? length : 0));
}

}  // namespace pageserver::test
