// Which file systems are warned of, and in which words.
#include "storage/file/file_system_warning.hpp"

#include <utility>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

/// The system's files on a file system that says it is another.
class Elsewhere final : public FaultyFileSystem {
public:
  explicit Elsewhere(std::int64_t magic) : magic_{magic} {}
  storage::IoResult file_system_type(int) override { return {magic_, 0}; }

private:
  std::int64_t magic_;
};

}  // namespace

TEST_CASE("file system warning: a network or FUSE file system is named with the reason") {
  const auto [magic, name] = GENERATE(table<std::int64_t, const char*>({
      {0x6969, "NFS"},
      {0x65735546, "FUSE"},
      {0xFF534D42, "CIFS"},
      {0x01021997, "9p"},
  }));
  TempDir folder;
  Elsewhere files{magic};
  const std::string warning = storage::file_system_warning_of(files, folder.file("db.img"));
  INFO(warning);
  CHECK(warning.find(name) != std::string::npos);
  CHECK(warning.find("lock") != std::string::npos);
  CHECK(warning.find("sync") != std::string::npos);
  CHECK(files.open_files() == 0);
}

TEST_CASE("file system: what lies in memory, or on another machine, is not mapped") {
  const auto [magic, good] =
      GENERATE(table<std::int64_t, bool>({{0xEF53, true},       // ext4
                                          {0x58465342, true},   // XFS
                                          {0x9123683E, true},   // btrfs
                                          {0x01021994, false},  // tmpfs
                                          {0x858458F6, false},  // ramfs
                                          {0x958458F6, false},  // hugetlbfs
                                          {0x794C7630, true},   // overlayfs: holes are those of the file below
                                          {0x6969, false}}));   // NFS
  INFO("magic " << magic);
  TempDir folder;
  Elsewhere files{magic};
  CHECK(storage::is_good_to_map(storage::Folder::open(files, folder.path().string())) == good);
}

TEST_CASE("file system warning: a disk of this machine is not warned of, nor what can't be asked") {
  for (const std::int64_t magic : {0xEF53, 0x58465342, 0x01021994})  // ext4, XFS, tmpfs
    CHECK(storage::file_system_warning(static_cast<std::uint64_t>(magic)).empty());
  FaultyFileSystem files;
  CHECK(storage::file_system_warning_of(files, "/no/such/folder/db.img").empty());
}

}  // namespace pageserver::test
