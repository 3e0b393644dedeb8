// What the command line promises whatever the command: help, usage errors, exit statuses, where output goes.
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

const std::vector<std::string> commands{"list", "ping", "create", "remove", "info",   "lease", "read",  "write",
                                        "grow", "copy", "diff",   "hash",   "replay", "bench", "check", "recover"};

}  // namespace

TEST_CASE("each command explains itself with an example") {
  for (const auto& command : commands) {
    const auto help = pagectl({command, "--help"});
    INFO(command);
    CHECK(help.status == 0);
    CHECK(help.err.empty());
    CHECK_THAT(help.out,
               Contains("Example:\n  ") && Contains("pagectl " + command) && Contains("--json") && Contains("--quiet"));
  }
}

TEST_CASE("the help of the tool names every command and shows an example") {
  const auto help = pagectl({"--help"});
  CHECK(help.status == 0);
  for (const auto& command : commands) CHECK_THAT(help.out, Contains("\n  " + command + " "));
  CHECK_THAT(help.out, Contains("Example:") && Contains("Exit status"));
}

TEST_CASE("the help of copy says when an upload is not atomic") {
  CHECK_THAT(pagectl({"copy", "--help"}).out, Contains("not atomic"));
}

TEST_CASE("version prints name and number") {
  const auto version = pagectl({"--version"});
  CHECK(version.status == 0);
  CHECK_THAT(version.out, Catch::Matchers::Matches("pagectl [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_CASE("usage errors exit with 2, on standard error only") {
  const std::vector<std::vector<std::string>> wrong{
      {},
      {"frobnicate"},
      {"read"},
      {"read", "x.img", "0"},
      {"read", "x.img", "zero", "1"},
      {"read", "x.img", "-1", "1"},
      {"read", "x.img", "0", "1", "--frobnicate"},
      {"read", "x.img", "0", "99999999999999999999"},
      {"info", "http://host/store"},
      {"info", "pageserver://host"},
      {"info", "pageserver://host/store?view=sideways"},
      {"list", "pageserver://host/store"},
      {"copy", "a.img"},
      {"copy", "a.img", "heap:"},
      {"bench", "heap:", "--write", "101"},
      {"bench", "heap:", "--depth", "0"},
      {"replay", "x.wdtr", "heap:", "--depth", "0"},
      {"create", "heap:"},
      {"check", "pageserver://host/store"},
  };
  const TempDir dir;
  write_file(dir.file("a.img"), "");
  for (auto arguments : wrong) {
    // The source of the copy must exist: what is wrong is the destination.
    for (auto& argument : arguments) {
      if (argument == "a.img") argument = dir.file("a.img");
    }
    const auto result = pagectl(arguments);
    INFO(nlohmann::json(arguments).dump() << " said: " << result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Catch::Matchers::StartsWith("pagectl: "));
  }
}

TEST_CASE("a failure exits with 1 and says why on standard error") {
  const TempDir dir;
  const auto result = pagectl({"info", dir.file("missing.img")});
  CHECK(result.status == 1);
  CHECK(result.out.empty());
  CHECK_THAT(result.err, Contains("missing.img"));
}

TEST_CASE("with --json a failure is one document too") {
  const TempDir dir;
  const auto result = pagectl({"--json", "info", dir.file("missing.img")});
  CHECK(result.status == 1);
  const auto document = nlohmann::json::parse(result.out);
  CHECK(document["error"]["code"] == "not_found");
  CHECK_THAT(document["error"]["message"].get<std::string>(), Contains("missing.img"));
}

TEST_CASE("numbers may be hexadecimal or have a unit") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(2, 1));
  const auto expected = read_file(image).substr(65536, 4096);
  CHECK((pagectl({"read", image, "64KiB", "4096"}).out == expected));
  CHECK((pagectl({"read", image, "0x10000", "4KiB"}).out == expected));
  CHECK((pagectl({"read", image, "65536", "0x1000"}).out == expected));
}

TEST_CASE("a reader that goes away ends the tool quietly with 1") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(32, 1));
  const auto result = run({"bash", "-c", "\"$0\" read \"$1\" 0 2MiB | head -c 1 > /dev/null; echo ${PIPESTATUS[0]}",
                           pagectl_program(), dir.file("a.img")});
  CHECK(result.out == "1\n");
  CHECK(result.err.empty());
}

TEST_CASE("output that can't be written is an error") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  for (const char* what : {"read \"$1\" 0 64KiB", "info \"$1\"", "--version", "copy --help"}) {
    const auto result =
        run({"bash", "-c", std::string("\"$0\" ") + what + " > /dev/full", pagectl_program(), dir.file("a.img")});
    INFO(what);
    CHECK(result.status == 1);
    CHECK_THAT(result.err, Contains("No space left"));
  }
}

TEST_CASE("quiet leaves results and drops the rest") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"create", image, "--pages", "1", "-q"},
                                                                     {"grow", image, "1", "--quiet"},
                                                                     {"check", image, "-q"},
                                                                     {"copy", image, dir.file("b.img"), "-q"}}) {
    const auto result = pagectl(arguments);
    CHECK(result.status == 0);
    CHECK(result.out + result.err == "");
  }
  CHECK(pagectl({"hash", image, "-q"}).out.size() == 17);
}
