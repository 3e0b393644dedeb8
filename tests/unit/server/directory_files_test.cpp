// The files of a served directory: nothing leads out of it, and every call arrives at the file system below.
#include "server/stores/directory_files.hpp"

#include <filesystem>
#include <fstream>

#include "tests/support/file_system_walk.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::test;

TEST_CASE("directory files: every call arrives below, those on a path beneath the open directory") {
  CountingFiles below;
  const auto files = server::make_directory_files(below, 3, "/folder");
  check_everything_arrives(
      *files, below, "/folder",
      {{"open", "open_beneath"}, {"status_of", "status_beneath"}, {"real_path", "status_beneath"}});
}

TEST_CASE("directory files: no path outside of the directory is opened") {
  CountingFiles below;
  const auto files = server::make_directory_files(below, 3, "/folder");
  for (const char* path :
       {"/other/a.img", "/folder/../a.img", "/folder/sub/a.img", "/folder/..", "/folderless/a.img"}) {
    INFO(path);
    CHECK(files->open(path, O_RDWR, 0).error == EXDEV);
  }
  CHECK(below.arrived.empty());
}

TEST_CASE("directory files: paths lead to the directory that was opened, also when another one has its place") {
  TempDir dir;
  auto& system = storage::posix_file_system();
  std::filesystem::create_directory(dir.path() / "d");
  std::ofstream(dir.path() / "d" / "a.img") << "old";
  const int opened = static_cast<int>(system.open(dir.file("d"), O_RDONLY | O_DIRECTORY, 0).value);
  REQUIRE(opened >= 0);
  const auto files = server::make_directory_files(system, opened, dir.file("d"));
  std::filesystem::rename(dir.path() / "d", dir.path() / "d.old");
  std::filesystem::create_directory(dir.path() / "d");
  std::ofstream(dir.path() / "d" / "a.img") << "another";

  storage::FileStatus status;
  REQUIRE(files->status_of(dir.file("d/a.img"), status).ok());
  CHECK(status.size_bytes == 3);
  const auto folder = files->open(dir.file("d"), O_RDONLY | O_DIRECTORY, 0);
  REQUIRE(folder.ok());
  const int descriptor = static_cast<int>(folder.value);
  REQUIRE(files->rename_beneath(descriptor, "a.img", "b.img").ok());
  std::vector<std::string> names;
  REQUIRE(files->list(descriptor, {}, names).ok());
  CHECK(names == std::vector<std::string>{"b.img"});
  CHECK(std::filesystem::exists(dir.path() / "d.old" / "b.img"));
  files->close(descriptor);
  system.close(opened);
}
