#include "tests/crash/simulated_file_system.hpp"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include "tests/support/catch.hpp"

#include "storage/file/mapped_file.hpp"

namespace pageserver::test {
namespace {

using storage::FileStatus;
using storage::FileSystem;
using storage::IoResult;
using storage::LockKind;

std::vector<std::byte> bytes(std::string_view text) {
  std::vector<std::byte> result(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) result[at] = static_cast<std::byte>(text[at]);
  return result;
}

std::string text_at(FileSystem& files, int file, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> buffer(length);
  const IoResult result = files.read_at(file, offset, buffer);
  std::string text;
  for (std::int64_t at = 0; at < result.value; ++at) text += static_cast<char>(buffer[static_cast<std::size_t>(at)]);
  return text;
}

int opened(FileSystem& files, const std::string& path, int flags = O_RDWR | O_CREAT) {
  const IoResult result = files.open(path, flags, 0640);
  REQUIRE(result.error == 0);
  return static_cast<int>(result.value);
}

void put(FileSystem& files, int file, std::uint64_t offset, std::string_view text) {
  REQUIRE(files.write_at(file, offset, bytes(text)).value == static_cast<std::int64_t>(text.size()));
}

void sync_directory(FileSystem& files, const std::string& path) {
  const int directory = opened(files, path, O_RDONLY | O_DIRECTORY);
  REQUIRE(files.sync(directory).ok());
  files.close(directory);
}

struct Disk {
  Disk() { files.make_directory("/data"); }
  SimulatedFileSystem files{1};
};

std::string content(SimulatedFileSystem& files, const std::string& path) {
  const SimulatedInode* inode = files.find(path);
  if (inode == nullptr) return "(none)";
  std::vector<std::byte> buffer(static_cast<std::size_t>(inode->size()));
  inode->content().read(0, buffer);
  std::string text;
  for (const std::byte one : buffer) text += static_cast<char>(one);
  return text;
}

}  // namespace

/// What the engine relies on, asked of the simulated disk and of the real one alike.
TEST_CASE("the simulated disk behaves as the real one") {
  Disk disk;
  const std::filesystem::path real = std::filesystem::temp_directory_path() / "pageserver_simulated_disk_test";
  std::filesystem::remove_all(real);
  std::filesystem::create_directory(real);
  const bool simulated = GENERATE(true, false);
  FileSystem& files = simulated ? static_cast<FileSystem&>(disk.files) : storage::posix_file_system();
  const std::string folder = simulated ? "/data" : real.string();
  const std::string path = folder + "/a";

  SECTION("a missing file is ENOENT, an existing one with O_EXCL is EEXIST") {
    CHECK(files.open(path, O_RDWR, 0).error == ENOENT);
    files.close(opened(files, path));
    CHECK(files.open(path, O_RDWR | O_CREAT | O_EXCL, 0640).error == EEXIST);
    CHECK(files.open(folder + "/none/a", O_RDWR | O_CREAT, 0640).error == ENOENT);
    CHECK(files.open(folder, O_RDWR, 0).error == EISDIR);
    CHECK(files.open(path, O_RDONLY | O_DIRECTORY, 0).error == ENOTDIR);
  }
  SECTION("a write past the end leaves zeros before it; a read past the end is short, then empty") {
    const int file = opened(files, path);
    put(files, file, 5000, "xyz");
    CHECK(text_at(files, file, 4998, 100) == std::string("\0\0xyz", 5));
    CHECK(text_at(files, file, 5003, 10).empty());
    FileStatus status;
    REQUIRE(files.status(file, status).ok());
    CHECK(status.size_bytes == 5003);
    CHECK(status.links == 1);
    files.close(file);
  }
  SECTION("what was cut off is zeros when the file grows again") {
    const int file = opened(files, path);
    put(files, file, 0, "abcdef");
    REQUIRE(files.truncate(file, 2).ok());
    REQUIRE(files.truncate(file, 4).ok());
    CHECK(text_at(files, file, 0, 10) == std::string("ab\0\0", 4));
    files.close(file);
  }
  SECTION("reserve changes neither size nor content, and of nothing is EINVAL") {
    const int file = opened(files, path);
    REQUIRE(files.reserve(file, 0, 8192).ok());
    FileStatus status;
    REQUIRE(files.status(file, status).ok());
    CHECK(status.size_bytes == 0);
    CHECK(status.allocated_bytes >= 8192);
    CHECK(files.reserve(file, 0, 0).error == EINVAL);
    files.close(file);
  }
  SECTION("a file opened for reading is not written") {
    files.close(opened(files, path));
    const int file = opened(files, path, O_RDONLY);
    CHECK(files.write_at(file, 0, bytes("x")).error == EBADF);
    files.close(file);
  }
  SECTION("a removed file lives as long as it is open") {
    const int file = opened(files, path);
    put(files, file, 0, "abc");
    const int directory = opened(files, folder, O_RDONLY | O_DIRECTORY);
    REQUIRE(files.remove_beneath(directory, "a").ok());
    CHECK(files.remove_beneath(directory, "a").error == ENOENT);
    files.close(directory);
    CHECK(text_at(files, file, 0, 3) == "abc");
    FileStatus status;
    REQUIRE(files.status(file, status).ok());
    CHECK(status.links == 0);
    CHECK(files.status_of(path, status).error == ENOENT);
    files.close(file);
  }
  SECTION("a rename replaces; the names say so") {
    const int file = opened(files, path);
    put(files, file, 0, "new");
    files.close(file);
    files.close(opened(files, folder + "/b"));
    const int directory = opened(files, folder, O_RDONLY | O_DIRECTORY);
    REQUIRE(files.rename_beneath(directory, "a", "b").ok());
    std::vector<std::string> names;
    REQUIRE(files.list(directory, {}, names).ok());
    CHECK(names == std::vector<std::string>{"b"});
    FileStatus status;
    CHECK(files.status_beneath(directory, "a", status).error == ENOENT);
    CHECK(files.status_beneath(directory, "b", status).ok());
    CHECK(files.rename_beneath(directory, "a", "c").error == ENOENT);
    files.close(directory);
  }
  SECTION("locks exclude other descriptors, and closing releases them") {
    const int first = opened(files, path);
    const int second = opened(files, path);
    REQUIRE(files.lock(first, LockKind::exclusive).ok());
    CHECK(files.lock(second, LockKind::shared).error == EWOULDBLOCK);
    files.close(first);
    CHECK(files.lock(second, LockKind::shared).ok());
    files.close(second);
  }
  SECTION("a file without a name") {
    const IoResult result = files.open(folder, O_TMPFILE | O_RDWR, 0600);
    if (simulated || result.ok()) {
      const int file = static_cast<int>(result.value);
      put(files, file, 0, "abc");
      CHECK(text_at(files, file, 0, 9) == "abc");
      files.close(file);
    }
  }
  SECTION("a name can't leave the folder that it is opened beneath") {
    const int directory = opened(files, folder, O_RDONLY | O_DIRECTORY);
    CHECK(files.open_beneath(directory, "../a", O_RDWR | O_CREAT, 0640).error == EXDEV);
    const IoResult inside = files.open_beneath(directory, "a", O_RDWR | O_CREAT, 0640);
    REQUIRE(inside.ok());
    files.close(static_cast<int>(inside.value));
    CHECK(files.remove_beneath(directory, "a").ok());
    files.close(directory);
  }
  SECTION("a mapping shows what is written, cut off and made a hole, and nothing past the end") {
    storage::enable_mapped_reads();
    const int file = opened(files, path);
    REQUIRE(files.truncate(file, 3 * 65536).ok());
    put(files, file, 70000, "before");
    const std::byte* address = nullptr;
    REQUIRE(files.map(file, 16 * 65536, address).ok());
    const auto shown = [&](std::uint64_t offset) {
      std::vector<std::byte> buffer(6);
      return storage::read_mapped(address + offset, buffer) ? buffer : std::vector<std::byte>{};
    };
    CHECK(shown(70000) == bytes("before"));
    put(files, file, 70000, "after!");
    CHECK(shown(70000) == bytes("after!"));
    REQUIRE(files.punch_hole(file, 65536, 65536).ok());
    CHECK(shown(70000) == std::vector<std::byte>(6));
    CHECK(shown(3 * 65536).empty());
    REQUIRE(files.truncate(file, 4 * 65536).ok());
    CHECK(shown(3 * 65536) == std::vector<std::byte>(6));
    REQUIRE(files.truncate(file, 65536).ok());
    CHECK(shown(70000).empty());
    files.close(file);
    const int directory = opened(files, folder, O_RDONLY | O_DIRECTORY);
    REQUIRE(files.remove_beneath(directory, "a").ok());
    files.close(directory);
    CHECK(shown(100) == std::vector<std::byte>(6));
    files.unmap(address, 16 * 65536);
  }
  SECTION("seeking finds data and holes") {
    const int file = opened(files, path);
    REQUIRE(files.truncate(file, 1 << 20).ok());
    put(files, file, 65536, "abc");
    CHECK(files.seek_data(file, 0).value == 65536);
    CHECK(files.seek_hole(file, 0).value == 0);
    CHECK(files.seek_data(file, 200000).error == ENXIO);
    files.close(file);
  }
  std::filesystem::remove_all(real);
}

TEST_CASE("a loss of power loses what was not synced, a kill loses nothing") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  put(disk.files, file, 0, "old");
  REQUIRE(disk.files.sync_data(file).ok());
  sync_directory(disk.files, "/data");
  put(disk.files, file, 0, "new");
  CHECK(content(*disk.files.after(Crash::power_lost, 1), "/data/a") == "old");
  CHECK(content(*disk.files.after(Crash::power_kept, 1), "/data/a") == "new");
  CHECK(content(*disk.files.after(Crash::kill, 1), "/data/a") == "new");
  // What a kill leaves is still not durable.
  CHECK(content(*disk.files.after(Crash::kill, 1)->after(Crash::power_lost, 1), "/data/a") == "old");
  CHECK(content(disk.files, "/data/a") == "new");
}

TEST_CASE("a directory entry is durable after a sync of the directory and not before") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  put(disk.files, file, 0, "abc");
  REQUIRE(disk.files.sync(file).ok());
  CHECK(content(*disk.files.after(Crash::power_lost, 1), "/data/a") == "(none)");
  sync_directory(disk.files, "/data");
  CHECK(content(*disk.files.after(Crash::power_lost, 1), "/data/a") == "abc");
  const int directory = opened(disk.files, "/data", O_RDONLY | O_DIRECTORY);
  REQUIRE(disk.files.remove_beneath(directory, "a").ok());
  CHECK(content(*disk.files.after(Crash::power_lost, 1), "/data/a") == "abc");
  CHECK(content(*disk.files.after(Crash::power_kept, 1), "/data/a") == "(none)");
}

TEST_CASE("a directory that is moved takes its files along, and who has it open goes on in it") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  put(disk.files, file, 0, "abc");
  REQUIRE(disk.files.sync(file).ok());
  const int directory = opened(disk.files, "/data", O_RDONLY | O_DIRECTORY);
  disk.files.move_directory("/data", "/moved");
  disk.files.make_directory("/data");
  REQUIRE(disk.files.open_beneath(directory, "b", O_RDWR | O_CREAT | O_EXCL, 0640).ok());
  REQUIRE(disk.files.sync(directory).ok());
  const auto left = disk.files.after(Crash::power_lost, 1);
  CHECK(content(*left, "/moved/a") == "abc");
  CHECK(left->names("/moved") == std::vector<std::string>{"a", "b"});
  CHECK(left->names("/data").empty());
}

TEST_CASE("unsynced sectors are lost, kept or torn in any combination, each of them whole") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  put(disk.files, file, 0, std::string(2048, 'a'));
  REQUIRE(disk.files.sync(file).ok());
  sync_directory(disk.files, "/data");
  put(disk.files, file, 0, std::string(2048, 'b'));
  put(disk.files, file, 0, std::string(512, 'c'));
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const std::string left = content(*disk.files.after(Crash::power, seed), "/data/a");
    REQUIRE(left.size() == 2048);
    std::string sectors;
    for (std::size_t at = 0; at < 2048; at += 512) {
      CHECK(left.substr(at, 512) == std::string(512, left[at]));
      sectors += left[at];
    }
    seen.insert(sectors);
  }
  CHECK(seen.size() == 3 * 2 * 2 * 2);
}

TEST_CASE("the size of a file is not durable until synced") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  REQUIRE(disk.files.truncate(file, 1000).ok());
  REQUIRE(disk.files.sync(file).ok());
  sync_directory(disk.files, "/data");
  REQUIRE(disk.files.truncate(file, 5000).ok());
  std::set<std::size_t> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    seen.insert(content(*disk.files.after(Crash::power, seed), "/data/a").size());
  }
  CHECK(seen == std::set<std::size_t>{1000, 5000});
}

TEST_CASE("after a failed sync the next one succeeds and the bytes are lost") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  sync_directory(disk.files, "/data");
  put(disk.files, file, 0, std::string(512 * 64, 'x'));
  disk.files.fault = [](const CallInfo& info) { return info.call == Call::sync_data ? EIO : 0; };
  CHECK(disk.files.sync_data(file).error == EIO);
  disk.files.fault = nullptr;
  CHECK(disk.files.sync_data(file).ok());
  CHECK(content(disk.files, "/data/a") == std::string(512 * 64, 'x'));
  CHECK(content(*disk.files.after(Crash::power_kept, 1), "/data/a") != std::string(512 * 64, 'x'));
}

TEST_CASE("what is written during a sync stays unsynced") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  sync_directory(disk.files, "/data");
  put(disk.files, file, 0, "aaa");
  bool once = false;
  disk.files.observe = [&](const CallInfo& info) {
    if (info.call != Call::sync_data || !info.middle || once) return;
    once = true;
    put(disk.files, file, 0, "bbb");
  };
  REQUIRE(disk.files.sync_data(file).ok());
  CHECK(content(*disk.files.after(Crash::power_lost, 1), "/data/a") == "aaa");
  CHECK(content(disk.files, "/data/a") == "bbb");
}

TEST_CASE("a full disk writes as much as fits, then ENOSPC, and reserved room is there") {
  Disk disk;
  const int file = opened(disk.files, "/data/a");
  REQUIRE(disk.files.reserve(file, 0, 8192).ok());
  disk.files.capacity_blocks = 2;
  CHECK(disk.files.write_at(file, 0, std::vector<std::byte>(20000)).value == 8192);
  CHECK(disk.files.write_at(file, 8192, bytes("x")).error == ENOSPC);
  CHECK(disk.files.reserve(file, 0, 9000).error == ENOSPC);
  REQUIRE(disk.files.truncate(file, 0).ok());
  CHECK(disk.files.write_at(file, 8192, bytes("x")).ok());
}

TEST_CASE("short transfers and interrupted calls happen, and calls are counted") {
  Disk disk;
  disk.files.short_transfer_one_in = 2;
  const int file = opened(disk.files, "/data/a");
  bool was_short = false, was_interrupted = false;
  for (int round = 0; round < 100; ++round) {
    const IoResult result = disk.files.write_at(file, 0, std::vector<std::byte>(1000));
    was_short = was_short || (result.ok() && result.value < 1000);
    was_interrupted = was_interrupted || result.error == EINTR;
  }
  CHECK(was_short);
  CHECK(was_interrupted);
  CHECK(disk.files.calls(Call::write) == 100);
  CHECK(disk.files.calls() == 101);
}

}  // namespace pageserver::test
