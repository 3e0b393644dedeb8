#include "storage/engine/image_changes.hpp"

#include <chrono>
#include <filesystem>

#include "tests/support/catch.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {
namespace {

namespace fs = std::filesystem;
using storage::ImageChanges;
using storage::ImageFile;
using storage::ServedImage;

struct World {
  World() : image{ImageFile::open(storage::posix_file_system(), path.string(), {})}, changes{image, 1} {}

  std::string look(const std::string& found = {}) { return changes.end_look(changes.begin_look(), found); }
  /// Moves the file's time, as a program that writes to it does.
  void touch(std::chrono::seconds by) const { fs::last_write_time(path, fs::last_write_time(path) + by); }

  TempDir dir;
  fs::path path = dir.path() / "a.img";
  ServedImage image;
  ImageChanges changes;
};

TEST_CASE("image changes: a change of the store's own explains a new time, to a look and in the notes") {
  World world;
  {
    const ImageChanges::Change change{world.changes};
    world.touch(std::chrono::seconds{1});
  }
  CHECK(world.look().empty());
  CHECK(world.changes.foreign().empty());
}

TEST_CASE("image changes: a time that moves without one is somebody else's, and says what to do") {
  World world;
  CHECK(world.look().empty());
  world.touch(std::chrono::seconds{100});
  CHECK(contains(world.look(), "was written to from outside"));
  const std::string foreign = world.changes.foreign();
  CHECK(contains(foreign, "the file \"" + world.path.string() + "\" was written to from outside"));
  CHECK(contains(foreign, "pagectl recover --adopt"));
}

TEST_CASE("image changes: what a look found, and what the opening warned of, is told") {
  World world;
  world.changes.warn("half a log");
  CHECK(world.look() == "half a log");
  CHECK(world.look("it has another name") == "it has another name");
}

TEST_CASE("image changes: the image is settled once, and not again while nothing changes it") {
  World world;
  CHECK(world.changes.wants_to_settle());
  CHECK_FALSE(world.changes.wants_to_settle());  // in the same tenth of a second
  { const ImageChanges::Change change{world.changes}; }
  world.changes.sync();
  world.changes.settle();
  CHECK(world.changes.foreign().empty());
}

}  // namespace
}  // namespace pageserver::test
