#include "storage/engine/image_watch.hpp"

#include <optional>

#include "tests/support/catch.hpp"

namespace pageserver::test {
namespace {

using storage::ImageWatch;

std::string look(ImageWatch& watch, std::optional<std::int64_t> modified_ns, const std::string& found = {}) {
  return watch.end_look(watch.begin_look(), modified_ns, found, "an.img");
}

TEST_CASE("image watch: a time that moves while nothing of ours does is somebody else's, and stays known") {
  ImageWatch watch{100};
  CHECK(look(watch, 100).empty());
  const std::string warning = look(watch, 101);
  CHECK(warning == "the file \"an.img\" was written to from outside while the store wrote nothing");
  CHECK(look(watch, 101) == warning);
}

TEST_CASE("image watch: a change of ours before, between or during looks explains a new time") {
  ImageWatch watch{100};
  { const ImageWatch::Change change{watch}; }
  CHECK(look(watch, 200).empty());
  {
    const ImageWatch::Change change{watch};
    CHECK(look(watch, 300).empty());
  }
  CHECK(look(watch, 400).empty());
  const ImageWatch::Look begun = watch.begin_look();
  { const ImageWatch::Change change{watch}; }
  CHECK(watch.end_look(begun, 500, {}, "an.img").empty());
  CHECK(look(watch, 600).empty());
  CHECK_FALSE(look(watch, 700).empty());
}

TEST_CASE("image watch: what was found is told unless it may be our own doing") {
  ImageWatch watch{100};
  {
    const ImageWatch::Change change{watch};
    CHECK(look(watch, 100, "it is too short").empty());
  }
  CHECK(look(watch, std::nullopt, "it is too short").empty());
  CHECK(look(watch, 100, "it is too short") == "it is too short");
  CHECK(look(watch, 100) == "it is too short");
}

TEST_CASE("image watch: what the opening found is told until there is something newer") {
  ImageWatch watch{100};
  watch.warn("half a log");
  CHECK(look(watch, 100) == "half a log");
  CHECK(look(watch, 100, "it is too short") == "it is too short");
}

}  // namespace
}  // namespace pageserver::test
