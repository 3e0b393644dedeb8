// Images that are put in place and moved away while others use the same names.
#include "tests/support/catch.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "storage/image/image_lifecycle.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"

namespace pageserver::test {
namespace {

/// Makes a file just before the next rename.
void make_before_rename(FaultyFileSystem& files, const std::string& path) {
  files.before(Call::rename, [path, made = false]() mutable {
    if (!std::exchange(made, true)) std::ofstream{path} << "another's";
  });
}

}  // namespace

TEST_CASE("whole image: a file that appears in the last moment stays, and the image is not made") {
  const TempDir dir;
  FaultyFileSystem files;
  const auto folder = storage::Folder::open(files, dir.path());
  make_before_rename(files, dir.file("a.img"));
  CHECK(errc_of([&] { storage::create_image(folder, "a.img", 1, 0640, dir.file("a.img")); }) == Errc::already_exists);
  CHECK(content_of(dir.file("a.img")) == "another's");
  CHECK(folder.names() == std::vector<std::string>{"a.img"});
}

TEST_CASE("whole image: a mark that appears in the last moment stays, and the image is not removed") {
  const TempDir dir;
  FaultyFileSystem files;
  const auto folder = storage::Folder::open(files, dir.path());
  storage::create_image(folder, "a.img", 1, 0640, dir.file("a.img"));
  make_before_rename(files, dir.file("a.img.removed.0000000001"));
  CHECK(errc_of([&] { storage::remove_image(folder, "a.img", dir.file("a.img")); }) == Errc::busy);
  CHECK(std::filesystem::file_size(dir.file("a.img")) == 65536);
  CHECK(content_of(dir.file("a.img.removed.0000000001")) == "another's");
}

}  // namespace pageserver::test
