// How long work shows itself, and colours.
#include "tests/pagectl/terminal.hpp"

#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;
using nlohmann::json;

namespace {

std::vector<json> objects_of(const std::string& lines) {
  std::vector<json> objects;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) objects.push_back(json::parse(line));
  return objects;
}

}  // namespace

TEST_CASE("on a terminal long work shows how far it is, its rate and the time left, and wipes it away") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto result = run_on_terminal({pagectl_program(), "bench", dir.file("a.img"), "--size", "8", "--seconds", "3"});
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

TEST_CASE("scripts are told by --progress json how far long work is, at its beginning and its end at least") {
  const TempDir dir;
  // What ends in a hole is done at its end, too.
  for (const char* const name : {"a.img", "b.img"}) {
    write_file(dir.file(name), random_bytes(6, 1));
    std::filesystem::resize_file(dir.file(name), 8 * page_bytes);
  }
  const std::vector<std::pair<std::string, std::vector<std::string>>> commands{
      {"copy", {"copy", dir.file("a.img"), dir.file("c.img"), "--force"}},
      {"hash", {"hash", dir.file("a.img")}},
      {"diff", {"diff", dir.file("a.img"), dir.file("b.img")}},
      {"check", {"check", dir.file("a.img")}},
      {"replay", {"replay", engine_fixture("small_crud.wdtr.zst"), "heap:"}},
  };
  for (auto [name, arguments] : commands) {
    INFO(name);
    const std::string out = pagectl(arguments).out;
    arguments.insert(arguments.end(), {"--progress", "json"});
    for (const bool quiet : {false, true}) {
      if (quiet) arguments.emplace_back("--quiet");
      const auto result = pagectl(arguments);
      CHECK(result.status == 0);
      std::vector<json> told;
      for (const json& object : objects_of(result.err))
        if (object["progress"] == name) told.push_back(object);
      REQUIRE(told.size() >= 2);
      CHECK(told.front()["done"] == 0);
      CHECK(told.front()["over"] == false);
      const json& last = told.back();
      CHECK(last["over"] == true);
      CHECK(last["done"] == last["total"]);
      const bool counts = name == "replay";
      CHECK(last["unit"] == (counts ? "count" : "bytes"));
      CHECK(last["total"] == (counts ? small_crud.records : 8 * page_bytes));
      CHECK(last["seconds"].is_number());
    }
  }
  // What it is asked for goes to standard output as ever.
  CHECK(pagectl({"hash", dir.file("a.img"), "--progress", "json"}).out == pagectl({"hash", dir.file("a.img")}).out);
}

TEST_CASE("scripts are told by --progress json the rate and the time left while the work goes on") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto result = pagectl({"bench", dir.file("a.img"), "--size", "8", "--seconds", "2.5", "--progress", "json"});
  CHECK(result.status == 0);
  const auto told = objects_of(result.err);
  REQUIRE(told.size() >= 3);
  CHECK(told[1]["over"] == false);
  CHECK(told[1]["per_second"] > 0);
  CHECK(told[1]["seconds_left"] > 0);
  CHECK(told[1]["done"] > told[0]["done"]);
}

TEST_CASE("a terminal shows nothing with --progress none, and another word is refused with those that there are") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  CHECK(run_on_terminal({pagectl_program(), "hash", dir.file("a.img"), "--progress", "none"}).screen.empty());
  const auto refused = pagectl({"hash", dir.file("a.img"), "--progress", "loud"});
  CHECK(refused.status == 2);
  CHECK_THAT(refused.err, Contains("loud") && Contains("auto, json and none"));
}

TEST_CASE("whoever asked for --progress json and does not read it holds nothing up") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  // A pipe that is full from the first byte on.
  const auto result = run({"bash", "-c",
                           "exec 3<> <(:); dd if=/dev/zero of=/dev/fd/3 bs=4096 count=64 oflag=nonblock 2>/dev/null; "
                           "exec timeout 30 \"$1\" hash \"$2\" --progress json 2>&3",
                           "bash", pagectl_program(), dir.file("a.img")});
  CHECK(result.status == 0);
  CHECK(result.out.size() == 17);
}

TEST_CASE("colours are where a terminal has them and NO_COLOR is not set") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const std::string red = "\033[1;31mpagectl:\033[0m ", green = "\033[32m[=";
  const std::vector<std::string> fails{pagectl_program(), "hash", dir.file("none.img")},
      works{pagectl_program(), "bench", dir.file("a.img"), "--size", "8", "--seconds", "1"};
  for (const auto& variables : std::vector<std::vector<std::string>>{{"TERM=xterm"}, {"TERM=xterm", "NO_COLOR="}}) {
    CHECK_THAT(run_on_terminal(fails, Output::nowhere, variables).screen, Catch::Matchers::StartsWith(red));
    CHECK_THAT(run_on_terminal(works, Output::nowhere, variables).screen, Contains(green));
  }
  for (const auto& variables : std::vector<std::vector<std::string>>{{"TERM=xterm", "NO_COLOR=1"}, {"TERM=dumb"}}) {
    CHECK_THAT(run_on_terminal(fails, Output::nowhere, variables).screen, Catch::Matchers::StartsWith("pagectl: "));
    CHECK_THAT(run_on_terminal(works, Output::nowhere, variables).screen, Contains("[=") && !Contains("\033[3"));
  }
  CHECK_THAT(run({"env", "-u", "NO_COLOR", "TERM=xterm", pagectl_program(), "hash", dir.file("none.img")}).err,
             Catch::Matchers::StartsWith("pagectl: "));
}

TEST_CASE("where standard error is no terminal there is no progress line") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(8, 1));
  CHECK(pagectl({"copy", dir.file("a.img"), dir.file("b.img")}).err.empty());
}
