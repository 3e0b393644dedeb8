// What the command line promises whatever the command: help, usage errors, exit statuses, where output goes.
#include "tests/support/catch.hpp"

#include <algorithm>
#include <filesystem>

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

const std::vector<std::string> commands{"list",   "ping",  "sessions", "kick",    "takeover", "create",
                                        "remove", "info",  "lease",    "read",    "write",    "grow",
                                        "copy",   "diff",  "hash",     "inspect", "verify",   "replay",
                                        "bench",  "check", "recover",  "faults",  "run",      "top"};

}  // namespace

TEST_CASE("each command explains itself with an example") {
  for (const auto& command : commands) {
    const auto help = pagectl({command, "--help"});
    INFO(command);
    CHECK(help.status == 0);
    CHECK(help.err.empty());
    CHECK_THAT(help.out, (Contains("Example:\n  ") || Contains("Examples:\n  ")) && Contains("pagectl " + command) &&
                             Contains("--json") && Contains("--quiet"));
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

TEST_CASE("help is also a word, and each help says what its operands may be") {
  CHECK(pagectl({"help"}).out == pagectl({"--help"}).out);
  for (const auto& command : commands) {
    INFO(command);
    const auto help = pagectl({"help", command});
    CHECK(help.status == 0);
    CHECK(help.out == pagectl({command, "--help"}).out);
    CHECK_THAT(help.out, Contains("pageserver://HOST[:PORT]") || Contains("PATH or file:PATH"));
  }
  CHECK(pagectl({"help", "frobnicate"}).status == 2);
}

TEST_CASE("every exit status is in the help") {
  const auto help = pagectl({"--help"}).out;
  for (const char* line : {"\n  0   done", "\n  1   failed", "\n  2   usage", "\n  75  failed for now, try again"})
    CHECK_THAT(help, Contains(line));
  CHECK_THAT(pagectl({"diff", "--help"}).out, Contains("1: they differ; 2: trouble; 75: "));
}

TEST_CASE("what may pass is a status of its own") {
  const TempDir dir;
  const auto uri = "pageserver+unix:///demo?socket=" + dir.file("nobody.sock");
  write_file(dir.file("a.img"), random_bytes(1, 1));
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"list", "127.0.0.1:1"},
                                                                     {"info", uri},
                                                                     {"hash", uri},
                                                                     {"read", uri, "0", "1"},
                                                                     {"create", uri},
                                                                     {"copy", uri, dir.file("b.img")},
                                                                     {"copy", dir.file("a.img"), uri},
                                                                     {"lease", uri, "--break"}}) {
    const auto result = pagectl(arguments);
    INFO(arguments.front());
    CHECK(result.status == 75);
    CHECK_THAT(result.err, Contains("refused") || Contains("nobody.sock"));
  }
  // Whether a daemon answers is what ping is asked.
  CHECK(pagectl({"ping", "127.0.0.1:1"}).status == 1);
}

TEST_CASE("a mistyped word gets the one that was meant, and one that is none a look at the help") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto says = [](std::vector<std::string> arguments, const std::string& text) {
    const auto result = pagectl(std::move(arguments));
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Contains(text));
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  };
  says({"cpoy", "a", "b"}, "there is no command \"cpoy\"; did you mean `copy`?");
  says({"lsit", "127.0.0.1"}, "did you mean `list`?");
  says({"-q", "hsah", "x"}, "did you mean `hash`?");
  says({"wombat"}, "there is no command \"wombat\"; `pagectl --help` lists them");
  says({"list", "a", "b"}, "list: \"b\" is one operand too many; see `pagectl list --help`");
  says({"list", "a", "--jsno"}, "list: there is no option \"--jsno\"; did you mean `--json`?");
  says({"--jsno", "list", "a"}, "there is no option \"--jsno\"; did you mean `--json`?");
  says({"copy", "--froce", "a", "b"}, "did you mean `--force`?");
  says({"bench", "heap:", "--depht=4"}, "there is no option \"--depht\"; did you mean `--depth`?");
  says({"copy", "a", "b", "--sideways"}, "there is no option \"--sideways\"; see `pagectl copy --help`");
  says({"copy", "a"}, "copy: DST is required; see `pagectl copy --help`");
  says({"info", ""}, "one of the words is empty");
  says({"\x1b[31mred"}, "\\x1b[31mred");
}

TEST_CASE("a usage error with --json is one document too") {
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--json", "cpoy"},
                                                                     {"list", "--json"},
                                                                     {"list", "a", "b", "--json"},
                                                                     {"--json"},
                                                                     {"read", "--json", "x", "0", "y"}}) {
    const auto result = pagectl(arguments);
    CHECK(result.status == 2);
    CHECK(nlohmann::json::parse(result.out)["error"]["code"] == "invalid_argument");
  }
  // What stands behind -- is no option.
  CHECK(pagectl({"info", "--", "--json"}).out.empty());
}

TEST_CASE("an operand that begins with a dash goes behind --") {
  const TempDir dir;
  write_file(dir.file("-x.img"), random_bytes(1, 1));
  const auto inside = [&](const std::string& words) {
    return run({"bash", "-c", "cd \"$1\" && \"$0\" " + words, pagectl_program(), dir.path().string()});
  };
  CHECK(inside("hash -x.img").status == 2);
  CHECK(inside("hash -- -x.img").status == 0);
  CHECK(inside("hash --json -- -x.img").out.front() == '{');
  // Neither standard output nor a file of that name, made by mistake.
  const auto pipe = inside("copy -- -x.img -");
  CHECK(pipe.status == 2);
  CHECK_THAT(pipe.err, Contains("`pagectl read` writes to a pipe"));
  CHECK(names_in(dir.path()).size() == 1);
  CHECK(inside("copy -- -x.img ./-").status == 0);
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

TEST_CASE("who leaves the scheme out, or names a folder, is told what to write") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  const auto inside = [&](const std::string& words) {
    const auto result = run({"bash", "-c", "cd \"$1\" && \"$0\" " + words, pagectl_program(), dir.path().string()});
    CHECK(result.status == 1);
    return result.err;
  };
  CHECK_THAT(inside("info 127.0.0.1:6553/demo"), Contains("write pageserver://127.0.0.1:6553/demo"));
  CHECK_THAT(inside("grow db.example.org/demo 1"), Contains("write pageserver://db.example.org/demo"));
  for (const char* words : {"info folder/demo.img", "info ./demo", "info demo", "hash a/b/c"})
    CHECK_THAT(inside(words), Contains("there is no such file") && !Contains("pageserver://"));
  CHECK_THAT(inside("copy a.img /"), Contains("it is a folder; name a file in it"));
  CHECK_THAT(inside("copy a.img /no/such/folder/x"), Contains("\"/no/such/folder\" does not exist; create it first"));
  CHECK_THAT(inside("create nowhere/x"), Contains("\"nowhere\" does not exist; create it first"));
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

TEST_CASE("without libfuse3 mount says so in one sentence, names what else there is, and leaves nothing") {
  const TempDir dir;
  const auto refused = run({PAGECTL_WITHOUT_MOUNT, "mount", "heap:", dir.file("x")});
  CHECK(refused.status == 1);
  CHECK(refused.out.empty());
  CHECK_THAT(refused.err, Contains("built without libfuse3") && Contains("nbdkit") && Contains("pagectl copy"));
  CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  CHECK_FALSE(std::filesystem::exists(dir.file("x")));
  // Everything else of it is there.
  write_file(dir.file("a.img"), random_bytes(1, 1));
  CHECK(run({PAGECTL_WITHOUT_MOUNT, "hash", dir.file("a.img")}).out == pagectl({"hash", dir.file("a.img")}).out);
}
