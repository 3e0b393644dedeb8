#include "storage/engine/served_image.hpp"

#include <filesystem>

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {
namespace {

namespace fs = std::filesystem;
using storage::ImageFile;
using storage::ServedImage;

ImageFile open_in(const fs::path& folder) {
  fs::create_directory(folder);
  return ImageFile::open(storage::posix_file_system(), (folder / "a.img").string(), {});
}

TEST_CASE("served image: a renamed image is misplaced until it has its name again") {
  const TempDir dir;
  const fs::path folder = dir.path() / "d";
  const ServedImage image{open_in(folder)};
  CHECK(image.misplaced().empty());
  fs::rename(folder / "a.img", folder / "b.img");
  CHECK_FALSE(image.misplaced().empty());
  CHECK_NOTHROW(image.check_stays());
  fs::rename(folder / "b.img", folder / "a.img");
  CHECK(image.misplaced().empty());
}

TEST_CASE("served image: a folder that was moved is no harm, one that was replaced is") {
  const TempDir dir;
  const ServedImage image{open_in(dir.path() / "d")};
  fs::rename(dir.path() / "d", dir.path() / "elsewhere");
  CHECK(image.misplaced().empty());
  fs::create_directory(dir.path() / "d");
  CHECK(contains(image.misplaced(), "was replaced by another one"));
}

TEST_CASE("served image: one that has no name any more does not stay") {
  const TempDir dir;
  const ServedImage image{open_in(dir.path() / "d")};
  fs::remove(dir.path() / "d" / "a.img");
  check_error(thrown_by([&] { image.check_stays(); }), Errc::provider_error, {"\"", "pagectl recover"});
}

TEST_CASE("served image: a size that the file system can't have is refused with the pages that were asked for") {
  const TempDir dir;
  ServedImage image{open_in(dir.path() / "d")};
  const std::uint64_t pages_max = ~0ull / page_size;
  CHECK_NOTHROW(image.check_file_size(1, ~0ull));
  check_error(thrown_by([&] { image.check_file_size(pages_max, ~0ull); }), Errc::limit_exceeded,
              {"pages=" + std::to_string(pages_max)});
  CHECK(fs::file_size(dir.path() / "d" / "a.img") == 0);
  CHECK(std::distance(fs::directory_iterator(dir.path() / "d"), {}) == 1);
}

TEST_CASE("served image: without a mapping it has no address, and closed it gives its lock back") {
  const TempDir dir;
  ServedImage image{open_in(dir.path() / "d")};
  CHECK(image.address() == nullptr);
  CHECK_THROWS_AS(open_in(dir.path() / "d"), MemoryError);
  image.close();
  CHECK_NOTHROW(open_in(dir.path() / "d"));
}

}  // namespace
}  // namespace pageserver::test
