// The progress line.
#include "tests/pagectl/terminal.hpp"

#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

TEST_CASE("on a terminal long work shows how far it is, its rate and the time left, and wipes it away") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto result = run_on_terminal({pagectl_program(), "bench", dir.file("a.img"), "--size", "8", "--seconds", "1"});
  CHECK(result.status == 0);
  CHECK_THAT(result.screen, Contains("[=") && Contains("%") && Contains("/s") && Contains(" left"));
  CHECK_THAT(result.screen, Catch::Matchers::EndsWith("\r\033[K"));
}

TEST_CASE("copy, hash, diff and replay show a line on a terminal, unless they are to be quiet") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  write_file(dir.file("b.img"), random_bytes(8, 1));
  const std::vector<std::pair<std::string, std::vector<std::string>>> commands{
      {"copy", {"copy", dir.file("a.img"), dir.file("c.img"), "--force"}},
      {"hash", {"hash", dir.file("a.img")}},
      {"diff", {"diff", dir.file("a.img"), dir.file("b.img")}},
      {"replay", {"replay", engine_fixture("small_crud.wdtr.zst"), "heap:"}},
  };
  for (auto [name, arguments] : commands) {
    arguments.insert(arguments.begin(), pagectl_program());
    const auto shown = run_on_terminal(arguments);
    INFO(name);
    CHECK(shown.status == 0);
    CHECK_THAT(shown.screen, Contains("\r" + name + " "));
    arguments.emplace_back("--quiet");
    CHECK(run_on_terminal(arguments).screen.empty());
  }
}

TEST_CASE("where standard error is no terminal there is no progress line") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  CHECK(pagectl({"copy", dir.file("a.img"), dir.file("b.img")}).err.empty());
}
