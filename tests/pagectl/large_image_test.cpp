// inspect and verify of images that are large, or deep: what they take does not follow the size.
#include "tests/support/catch.hpp"

#include <sys/resource.h>

#include <filesystem>

#include "tests/pagectl/made_database.hpp"
#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

/// The most memory that any program of this test ever had.
std::uint64_t most_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

constexpr std::uint64_t memory_bytes_max = std::uint64_t{64} << 20;

}  // namespace

TEST_CASE("a tree of many levels is walked in the order of its keys, and broken links in it are found") {
  const TempDir dir;
  const std::string image = dir.file("deep.img");
  const std::uint64_t rows = make_database({2, 3, 100, 7, 3}, image);
  const auto document = pagectl_json({"inspect", image});
  CHECK(document["errors"] == 0);
  CHECK(document["warnings"] == 0);
  CHECK(document["orphan_runs"] == 0);
  REQUIRE(document["tables"].size() == 2);
  for (const auto& table : document["tables"]) {
    CHECK(table["rows"] == rows);
    CHECK(table["indexes"][0]["entries"] == rows);
    CHECK(table["indexes"][0]["levels"] == 6);
    CHECK(table["indexes"][0]["leaves"] == 220);
  }
  CHECK(pagectl({"verify", image}).status == 0);
  // Two leaves of one node change places: links, order and bounds of both are wrong.
  const std::string content = read_file(image);
  const std::uint64_t leaf = (2 + 4 + 3 + 50) * page_bytes;
  patch_file(image, leaf, content.substr(leaf + page_bytes, page_bytes));
  patch_file(image, leaf + page_bytes, content.substr(leaf, page_bytes));
  const auto result = pagectl({"verify", image});
  CHECK(result.status == 1);
  CHECK_THAT(result.out, Contains("[index-links]") && Contains("[index-order]"));
}

TEST_CASE("memory does not follow the size of an image") {
  const TempDir dir;
  const std::string image = dir.file("large.img");
  // A million small rows, and a TiB behind them that belongs to nothing.
  const std::uint64_t rows = make_database({1, 500, 4, 2000, 2000}, image);
  std::filesystem::resize_file(image, std::uint64_t{1} << 40);
  const auto document = pagectl_json({"inspect", image}, {}, std::chrono::seconds(300));
  CHECK(document["tables"][0]["rows"] == rows);
  CHECK(document["errors"] == 0);
  CHECK(document["orphans"][0]["zeros"] == true);
  CHECK(most_memory_bytes() < memory_bytes_max);
  CHECK(pagectl({"verify", "-q", image}, {}, std::chrono::seconds(300)).status == 0);
  CHECK(most_memory_bytes() < memory_bytes_max);
}
