// The whole program against another build: this one, one that has no driver, one that is much faster than can be.
#include "tests/support/catch.hpp"

#include <cmath>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::test {
namespace {

namespace fs = std::filesystem;

fs::path our_programs() { return fs::path(PAGESERVER_BENCH_PATH).parent_path(); }

RunResult run_against(const TempDir& folder, const std::string& other, const std::string& rows,
                      std::vector<std::string> more = {}) {
  std::vector<std::string> words{PAGESERVER_BENCH_PATH,
                                 "--against",
                                 other,
                                 "--rows",
                                 rows,
                                 "--rounds",
                                 "2",
                                 "--quick",
                                 "--json",
                                 folder.file("results.json"),
                                 "--folder",
                                 folder.file("data")};
  words.insert(words.end(), more.begin(), more.end());
  return run(words, {}, std::chrono::seconds(200));
}

void write_script(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "#!/bin/sh\n" << text;
  fs::permissions(path, fs::perms::owner_all);
}

/// A build tree with our daemon and tool.
fs::path make_build(const TempDir& folder) {
  const fs::path bin = folder.path() / "other" / "bin";
  fs::create_directories(bin);
  for (const char* name : {"pageserverd", "pagectl"}) fs::create_symlink(our_programs() / name, bin / name);
  return bin.parent_path();
}

/// A driver that prepares nothing and answers each round by `answer`.
std::string driver_script(const std::string& answer) {
  return "[ \"$1\" = --drive ] || { echo ' --drive'; exit 0; }\n"
         "echo ready less us\n"
         "while read -r round; do " +
         answer + "; done\n";
}

nlohmann::json results(const TempDir& folder) {
  return nlohmann::json::parse(std::ifstream(folder.file("results.json")));
}

}  // namespace

TEST_CASE("a build is measured against another, row by row, and its images are gone afterwards") {
  TempDir folder;
  const auto result =
      run_against(folder, our_programs(), "read_8b_unix,write_8b_x64,open_1t_memory", {"--resume", "30"});
  INFO(result.out << result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("3 passed, 0 failed") != std::string::npos);
  CHECK(result.out.find("client library of this build") == std::string::npos);
  CHECK_FALSE(fs::exists(folder.file("data")));
  const auto json = results(folder);
  REQUIRE(json.at("rows").size() == 3);
  for (const auto& row : json.at("rows")) {
    for (const char* part : {"median", "first_quartile", "third_quartile"}) {
      const double ratio = row.at("ratio").at(part);
      CHECK((std::isfinite(ratio) && ratio > 0));
    }
    REQUIRE(row.at("figures").size() == 2);
    CHECK(row.at("figures")[0].at("name") == "ours");
    CHECK(row.at("figures")[1].at("name") == "theirs");
  }
}

TEST_CASE("a build without a driver lends its daemon, and the table says whose client it was") {
  TempDir folder;
  const fs::path other = make_build(folder);
  fs::remove(other / "bin" / "pageserverd");
  write_script(other / "bin" / "pageserverd", ": >'" + folder.file("started") + "'\nexec '" +
                                                  (our_programs() / "pageserverd").string() + "' \"$@\"\n");
  const auto result = run_against(folder, other, "read_8b_unix");
  INFO(result.out << result.err);
  REQUIRE(result.status == 0);
  CHECK(fs::exists(folder.file("started")));
  CHECK(result.out.find("client library of this build") != std::string::npos);
}

TEST_CASE("a row below the least ratio is listed at the end and is no failure") {
  TempDir folder;
  const fs::path other = make_build(folder);
  write_script(other / "bin" / "pageserver_bench", driver_script("echo 0.001"));
  const auto slow = run_against(folder, other, "read_8b_unix");
  INFO(slow.out << slow.err);
  CHECK(slow.status == 0);
  CHECK(slow.out.find("\nbelow 0.97: read_8b_unix 0.0") != std::string::npos);
  CHECK(results(folder).at("rows")[0].at("status") == "missed");
  write_script(other / "bin" / "pageserver_bench", driver_script("echo 1000000"));
  const auto fast = run_against(folder, other, "read_8b_unix", {"--least", "2"});
  CHECK(fast.status == 0);
  CHECK(fast.out.find("\nbelow") == std::string::npos);
}

TEST_CASE("what a driver says went wrong is the row's failure, and what it lacks leaves the row out") {
  TempDir folder;
  const fs::path other = make_build(folder);
  for (const std::string answer : {"echo failed no disk", "exit 3", "echo nonsense"}) {
    write_script(other / "bin" / "pageserver_bench", driver_script(answer));
    const auto result = run_against(folder, other, "read_8b_unix");
    INFO(answer << "\n" << result.out << result.err);
    CHECK(result.status == 1);
    CHECK(result.out.find("FAILED: ") != std::string::npos);
    CHECK(result.out.find("0 passed, 1 failed, 0 skipped") != std::string::npos);
  }
  write_script(other / "bin" / "pageserver_bench",
               "[ \"$1\" = --drive ] || { echo ' --drive'; exit 0; }\necho unavailable no such row\n");
  const auto result = run_against(folder, other, "read_8b_unix");
  CHECK(result.status == 0);
  CHECK(result.out.find("not available: no such row") != std::string::npos);
  CHECK(result.out.find("0 passed, 0 failed, 1 skipped") != std::string::npos);
}

TEST_CASE("a folder that holds no build is refused by what it lacks") {
  TempDir folder;
  const auto result = run_against(folder, folder.path(), "read_8b_unix");
  CHECK(result.status == 1);
  CHECK(result.err.find("bin/pageserverd") != std::string::npos);
}

}  // namespace pageserver::test
