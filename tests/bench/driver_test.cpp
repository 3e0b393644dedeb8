// One row at the word of standard input, and two builds compared by it.
#include "tests/support/catch.hpp"

#include <cstdlib>
#include <sstream>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "tests/bench/driver.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::bench {
namespace {

Subject counting(const std::string& name, std::string& order, double value) {
  return {name, [&order, name, value](std::size_t) {
            order += name;
            return value;
          }};
}

Settings settings_in(const test::TempDir& folder) {
  Settings settings;
  settings.folder = folder.path();
  settings.programs = std::filesystem::path(PAGESERVER_BENCH_PATH).parent_path();
  settings.quick = true;
  settings.server_core = settings.client_core = 0;
  return settings;
}

}  // namespace

TEST_CASE("two builds take turns, each first in its turn") {
  std::string order;
  const Turns turns = take_turns(3, counting("a", order, 1), counting("b", order, 2), true);
  CHECK(order == "abbaab");
  order.clear();
  take_turns(3, counting("a", order, 1), counting("b", order, 2), false);
  CHECK(order == "baabba");
  CHECK(turns.ours == std::vector<double>{1, 1, 1});
  CHECK(turns.theirs == std::vector<double>{2, 2, 2});
}

TEST_CASE("the ratio of two builds is above 1 where ours is better, whatever the unit") {
  const Turns turns{{6, 6}, {3, 3}};
  CHECK(compare_builds("requests/s", true, turns, turns).ratio.median == Approx(2));
  const Measured measured = compare_builds("us", false, turns, turns);
  CHECK(measured.ratio.median == Approx(0.5));
  REQUIRE(measured.figures.size() == 2);
  CHECK(measured.figures[0].name == "ours");
  CHECK(measured.figures[0].value.median == Approx(6));
  CHECK(measured.figures[1].value.median == Approx(3));
}

TEST_CASE("a place that is worth something is worth nothing in the ratio of two builds") {
  // Equal builds, of which whoever has the first place is a quarter slower.
  const Turns placed{{75, 75, 75}, {100, 100, 100}};
  const Turns exchanged{{100, 100, 100}, {75, 75, 75}};
  const Measured measured = compare_builds("MB/s", true, placed, exchanged);
  CHECK(measured.ratio.low == Approx(1));
  CHECK(measured.ratio.high == Approx(1));
  CHECK(measured.figures[0].value.min == Approx(75));
  CHECK(measured.figures[0].value.max == Approx(100));
}

TEST_CASE("a driven row answers each round with a figure and ends with its input") {
  test::TempDir folder;
  std::istringstream in("0\n1\n");
  std::ostringstream out;
  CHECK(drive("open_1t_memory", settings_in(folder), in, out) == 0);
  std::istringstream lines(out.str());
  std::string ready;
  REQUIRE(std::getline(lines, ready));
  CHECK(ready == "ready less KiB");
  double figure = 0;
  std::size_t figures = 0;
  for (; lines >> figure; ++figures) CHECK(figure > 0);
  CHECK(figures == 2);
}

TEST_CASE("a driver says that it has no such row") {
  test::TempDir folder;
  std::istringstream in;
  std::ostringstream out;
  CHECK(drive("nonsense", settings_in(folder), in, out) == 1);
  CHECK(out.str() == "unavailable this build has no row nonsense\n");
}

TEST_CASE("the keys that a build's sessions are given arrive in their URIs") {
  test::TempDir folder;
  Settings settings = settings_in(folder);
  settings.uri_keys = "resume=never";
  std::istringstream in("0\n");
  std::ostringstream out;
  CHECK(drive("open_1t_memory", settings, in, out) == 1);
  CHECK_THAT(out.str(), test::Contains("failed") && test::Contains("resume=never"));
  CHECK(uri_of({6553, "", 0, "", "resume=30"}, Transport::tcp, "bench", "") ==
        "pageserver://127.0.0.1:6553/bench?resume=30");
  CHECK(uri_of({0, "/s", 0, "", "resume=30"}, Transport::unix_socket, "bench", "access=read") ==
        "pageserver+unix:///bench?socket=/s&access=read&resume=30");
}

TEST_CASE("a row that is driven needs no rival's program") {
  test::TempDir folder;
  // The only program that is found; what would start a rival says that it is not installed.
  std::filesystem::create_directory(folder.path() / "bin");
  std::filesystem::create_symlink(find_program("taskset"), folder.path() / "bin" / "taskset");
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder.file("bin").c_str(), 1);
  for (const std::string id : {"read_8b_tcp_poll", "read_64k_poll", "copy_1g"}) {
    INFO(id);
    Settings settings = settings_in(folder);
    std::size_t driven = 0;
    settings.driver = [&](const Subject& subject, const std::string&, bool) { driven += subject.sample(0) > 0; };
    Servers servers{settings};
    for (const Row& row : all_rows()) {
      if (row.id == id) CHECK_NOTHROW(row.measure(servers));
    }
    CHECK(driven == 1);
  }
  ::setenv("PATH", path.c_str(), 1);
}

}  // namespace pageserver::bench
