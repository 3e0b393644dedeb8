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

TEST_CASE("a terminal gets no binary bytes, but text and hex digits") {
  const TempDir dir;
  write_file(dir.file("a.img"), "Gr\u00fc\u00dfe\n\tan alle\n" + std::string(page_bytes - 17, '\x1b'));
  const auto text = run_on_terminal({pagectl_program(), "read", dir.file("a.img"), "0", "17"}, Output::terminal);
  CHECK(text.status == 0);
  CHECK_THAT(text.screen, Contains("Gr\u00fc\u00dfe\r\n") && Contains("an alle"));
  const auto binary = run_on_terminal({pagectl_program(), "read", dir.file("a.img"), "0", "4096"}, Output::terminal);
  CHECK(binary.status == 2);
  CHECK_THAT(binary.screen, Contains("--hex") && !Contains("Gr") && !Contains("\x1b"));
  const auto hex =
      run_on_terminal({pagectl_program(), "read", "--hex", dir.file("a.img"), "0", "4096"}, Output::terminal);
  CHECK(hex.status == 0);
  CHECK_THAT(hex.screen, Contains("00000010  ") && !Contains("\x1b"));
  // Neither a pipe nor a file is a terminal.
  CHECK(run_on_terminal({pagectl_program(), "read", dir.file("a.img"), "0", "4096"}).status == 0);
}

TEST_CASE("where standard error is no terminal there is no progress line") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  CHECK(pagectl({"copy", dir.file("a.img"), dir.file("b.img")}).err.empty());
}
