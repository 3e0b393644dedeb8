// The whole program on one short row against the least server, which is always there.
#include "tests/support/catch.hpp"

#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {

TEST_CASE("a row is measured and its figures are numbers") {
  TempDir folder;
  const auto result = run({PAGESERVER_BENCH_PATH, "--rows", "read_8b_tcp,read_4k_unix", "--rounds", "1", "--quick",
                           "--json", folder.file("results.json"), "--folder", folder.file("data")},
                          {}, std::chrono::seconds(200));
  INFO(result.out << result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("2 passed, 0 failed") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.file("data")));
  const auto json = nlohmann::json::parse(std::ifstream(folder.file("results.json")));
  REQUIRE(json.at("rows").size() == 2);
  for (const auto& row : json.at("rows")) {
    const double ratio = row.at("ratio").at("median");
    CHECK((std::isfinite(ratio) && ratio > 0));
    REQUIRE(row.at("figures").size() == 2);
    for (const auto& figure : row.at("figures")) {
      const double median = figure.at("median");
      CHECK((std::isfinite(median) && median > 0));
    }
  }
}

TEST_CASE("a row that does not exist is refused") {
  const auto result = run({PAGESERVER_BENCH_PATH, "--rows", "nonsense"});
  CHECK(result.status == 1);
  CHECK(result.err.find("--list") != std::string::npos);
}

}  // namespace pageserver::test
