// The files of a served directory: nothing leads out of it, and every call arrives at the file system below.
#include "server/directory_files.hpp"

#include "tests/support/file_system_walk.hpp"

using namespace pageserver;
using namespace pageserver::test;

TEST_CASE("directory files: every call arrives below, those on a path beneath the open directory") {
  CountingFiles below;
  const auto files = server::make_directory_files(below, 3, "/folder");
  check_everything_arrives(*files, below, "/folder", {{"open", "open_beneath"}, {"remove", "remove_beneath"}});
}

TEST_CASE("directory files: no call on a path outside of the directory arrives") {
  CountingFiles below;
  const auto files = server::make_directory_files(below, 3, "/folder");
  for (const char* path :
       {"/other/a.img", "/folder/../a.img", "/folder/sub/a.img", "/folder/..", "/folderless/a.img"}) {
    INFO(path);
    CHECK(files->open(path, O_RDWR, 0).error == EXDEV);
    CHECK(files->remove(path).error == EXDEV);
    CHECK(files->rename(path, "/folder/b.img").error == EXDEV);
    CHECK(files->rename("/folder/b.img", path).error == EXDEV);
  }
  std::vector<std::string> names;
  CHECK(files->list("/other", names).error == EXDEV);
  CHECK(below.arrived.empty());
}
