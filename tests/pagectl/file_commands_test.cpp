// The small commands on plain files.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"
#include "tests/support/neighbours.hpp"

using namespace pageserver::test;

namespace {

/// Holds a file as a daemon would.
class Locked {
public:
  explicit Locked(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0) throw std::runtime_error("can't lock " + path);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { ::close(file_); }

private:
  int file_;
};

bool has_hexdump() { return run({"bash", "-c", "command -v hexdump"}).status == 0; }

}  // namespace

TEST_CASE("create makes an image of zeros and refuses a file that is there") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  CHECK(pagectl_json({"create", image, "--pages", "3"})["pages"] == 3);
  CHECK((read_file(image) == std::string(3 * page_bytes, '\0')));
  const auto again = pagectl({"create", image});
  CHECK(again.status == 1);
  CHECK_THAT(again.err, Contains("exists"));
  CHECK(std::filesystem::file_size(image) == 3 * page_bytes);
}

TEST_CASE("no image is made under a name that leaves no room for those of a store's files") {
  const TempDir dir;
  write_file(dir.file("source.img"), random_bytes(1, 1));
  for (const std::size_t bytes : {237u, 241u, 255u}) {
    const auto image = dir.file(std::string(bytes - 4, 'n') + ".img");
    for (const auto& made : {pagectl({"create", image}), pagectl({"copy", dir.file("source.img"), image}),
                             pagectl({"info", "store:" + image + "?access=write"})}) {
      INFO(made.err);
      CHECK(made.status != 0);
      CHECK_THAT(made.err, Contains("its name has " + std::to_string(bytes) + " bytes") && Contains("at most 236"));
    }
    CHECK(names_in(dir.path()) == std::vector<std::string>{"source.img"});
    // One that is there is read, and written without a log.
    write_file(image, random_bytes(1, 2));
    CHECK((pagectl({"read", image, "0", "65536"}).out == random_bytes(1, 2)));
    CHECK(pagectl({"write", image, "0"}, "new").status == 0);
    CHECK(pagectl({"remove", image}).status == 0);
  }
  CHECK(pagectl({"create", dir.file(std::string(232, 'n') + ".img")}).status == 0);
}

TEST_CASE("create without pages makes an empty image") {
  const TempDir dir;
  CHECK(pagectl({"create", dir.file("a.img")}).status == 0);
  CHECK(std::filesystem::file_size(dir.file("a.img")) == 0);
}

TEST_CASE("remove removes an image, and neither what is in use nor what is none") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(1, 1));
  {
    const Locked lock(image);
    CHECK(pagectl({"remove", image}).status == 75);
  }
  CHECK(std::filesystem::exists(image));
  CHECK(pagectl_json({"remove", image})["removed"] == image);
  CHECK_FALSE(std::filesystem::exists(image));
  CHECK(pagectl({"remove", image}).status == 1);

  write_file(dir.file("text"), "not an image");
  CHECK(pagectl({"remove", dir.file("text")}).status == 1);
  CHECK(std::filesystem::exists(dir.file("text")));
}

TEST_CASE("info of a file has the keys that every info has") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(3, 1));
  const auto info = pagectl_json({"info", dir.file("a.img")});
  CHECK(info["store"] == dir.file("a.img"));
  CHECK(info["size_bytes"] == 3 * page_bytes);
  CHECK(info["pages"] == 3);
  CHECK(info["version"].is_null());
  CHECK(info["writer"].is_null());
  CHECK(info["sessions"]["total"] == 0);
  CHECK_THAT(pagectl({"info", dir.file("a.img")}).out, Contains("3 pages"));
}

TEST_CASE("lease is for stores of a daemon") {
  const TempDir dir;
  write_file(dir.file("a.img"), "");
  const auto result = pagectl({"lease", dir.file("a.img")});
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("only a daemon's stores"));
}

TEST_CASE("read writes exactly the bytes asked for") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(40, 2));
  const auto bytes = read_file(image);
  CHECK((pagectl({"read", image, "0", std::to_string(bytes.size())}).out == bytes));
  CHECK((pagectl({"read", image, "65530", "700000"}).out == bytes.substr(65530, 700000)));
  CHECK(pagectl({"read", image, std::to_string(bytes.size()), "0"}).out.empty());
  const auto past = pagectl({"read", image, std::to_string(bytes.size() - 1), "2"});
  CHECK(past.status == 1);
  CHECK(past.out.empty());
  CHECK_THAT(past.err, Contains("offset=2621439 length=2 exceeds size=2621440"));
}

TEST_CASE("read --json has the bytes as hex digits") {
  const TempDir dir;
  const auto image = dir.file("a \"quoted\".img");
  write_file(image, std::string("\x01\xff\x00\x7f", 4) + std::string(page_bytes - 4, 'x'));
  const auto document = pagectl_json({"read", image, "0", "6"});
  CHECK(document["data"] == "01ff007f7878");
  CHECK(document["store"] == image);
  CHECK(document["length"] == 6);
}

TEST_CASE("read --hex prints as hexdump -C does") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  // Repeated lines at the beginning, in the middle and at the end, a line that is nearly the same, every byte value.
  std::string bytes(3 * page_bytes, '\0');
  for (int i = 0; i < 256; ++i) bytes[70'000 + static_cast<std::size_t>(i)] = static_cast<char>(i);
  bytes.replace(131'072, 64, std::string(64, 'A'));
  bytes[131'100] = 'B';
  write_file(image, bytes);
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges{
      {0, bytes.size()}, {69'990, 300}, {0, 1}, {0, 16}, {0, 17}, {5, 33}, {131'072, 64}, {0, 48}, {196'000, 608}};
  if (!has_hexdump()) WARN("hexdump is not installed: only the golden text was compared");
  for (const auto& [offset, length] : ranges) {
    if (!has_hexdump()) break;
    const auto ours = pagectl({"read", "--hex", image, std::to_string(offset), std::to_string(length)});
    const auto theirs = run({"hexdump", "-C", "-s", std::to_string(offset), "-n", std::to_string(length), image});
    INFO("offset " << offset << " length " << length);
    CHECK(ours.out == theirs.out);
  }
  CHECK(pagectl({"read", "--hex", image, "131064", "52"}).out ==
        "0001fff8  00 00 00 00 00 00 00 00  41 41 41 41 41 41 41 41  |........AAAAAAAA|\n"
        "00020008  41 41 41 41 41 41 41 41  41 41 41 41 41 41 41 41  |AAAAAAAAAAAAAAAA|\n"
        "00020018  41 41 41 41 42 41 41 41  41 41 41 41 41 41 41 41  |AAAABAAAAAAAAAAA|\n"
        "00020028  41 41 41 41                                       |AAAA|\n"
        "0002002c\n");
}

TEST_CASE("write puts standard input where it was told, however long it is") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, std::string(80 * page_bytes, 'x'));
  const auto data = random_bytes(70, 3);
  CHECK(pagectl_json({"write", image, "12345"}, data)["bytes"] == data.size());
  auto expected = std::string(80 * page_bytes, 'x');
  expected.replace(12345, data.size(), data);
  CHECK((read_file(image) == expected));
  CHECK(pagectl_json({"write", image, "0"}, "")["bytes"] == 0);
  CHECK((read_file(image) == expected));
}

TEST_CASE("write never grows an image and says what was written") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, std::string(8 * page_bytes, 'x'));
  const auto result = pagectl({"write", image, "0"}, random_bytes(9, 4));
  CHECK(result.status == 1);
  CHECK_THAT(result.err, Contains("exceeds size=524288") && Contains("the 524288 bytes before it were written"));
  CHECK(std::filesystem::file_size(image) == 8 * page_bytes);
  const auto nothing = pagectl({"write", image, "524288"}, "y");
  CHECK_THAT(nothing.err, Contains("nothing was written"));
}

TEST_CASE("write and grow don't make a file that is missing") {
  const TempDir dir;
  CHECK(pagectl({"write", dir.file("a.img"), "0"}, "x").status == 1);
  CHECK(pagectl({"grow", dir.file("a.img"), "1"}).status == 1);
  CHECK(names_in(dir.path()).empty());
}

TEST_CASE("grow appends zeros and says how many pages there were") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  const auto bytes = random_bytes(1, 5);
  write_file(image, bytes);
  const auto grown = pagectl_json({"grow", image, "2"});
  CHECK(grown["previous_pages"] == 1);
  CHECK(grown["pages"] == 3);
  CHECK((read_file(image) == bytes + std::string(2 * page_bytes, '\0')));
  const auto absurd = pagectl({"grow", image, "18446744073709551615"});
  CHECK(absurd.status == 1);
  CHECK(std::filesystem::file_size(image) == 3 * page_bytes);
}

TEST_CASE("a file in use is refused by name") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(1, 1));
  const Locked lock(image);
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"info", image}, {"hash", image}, {"read", image, "0", "1"}, {"grow", image, "1"}, {"check", image}}) {
    const auto result = pagectl(arguments);
    INFO(arguments[0]);
    CHECK(result.status == (arguments[0] == "check" ? 1 : 75));
    CHECK_THAT(result.err, Contains("a.img"));
  }
}

TEST_CASE("check tells an image from what is none") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(2, 1));
  const auto good = pagectl_json({"check", dir.file("a.img")});
  CHECK(good["ok"] == true);
  CHECK(good["pages"] == 2);
  CHECK(good["log_found"] == false);

  write_file(dir.file("bad.img"), random_bytes(1, 1) + "x");
  const auto bad = pagectl({"check", "--json", dir.file("bad.img")});
  CHECK(bad.status == 1);
  CHECK(nlohmann::json::parse(bad.out)["ok"] == false);
  CHECK_THAT(nlohmann::json::parse(bad.out)["problem"].get<std::string>(), Contains("65537"));
  CHECK(pagectl({"check", dir.file("missing.img")}).status == 1);
}

TEST_CASE("a log beside the image is found, and nothing touches the image then") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(1, 1));
  CHECK(pagectl_json({"recover", image})["recovered"] == false);
  write_file(image + ".log.0000000001", "something");

  const auto checked = pagectl({"check", image, "--json"});
  CHECK(checked.status == 1);
  CHECK(nlohmann::json::parse(checked.out)["ok"] == false);
  CHECK(pagectl({"remove", image}).status == 1);
  CHECK(pagectl({"copy", "--force", image, image}).status == 1);
  CHECK((read_file(image) == random_bytes(1, 1)));
  CHECK((read_file(image + ".log.0000000001") == "something"));
}

TEST_CASE("what is nearly the name of a log is in nobody's way, and stays") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(image, random_bytes(1, 1));
  const KeptFiles kept(dir.path(), neighbours_of("a.img"));
  CHECK(pagectl({"read", image, "0", "1"}).status == 0);
  CHECK(pagectl({"write", image, "0"}, random_bytes(1, 2)).status == 0);
  CHECK(pagectl_json({"check", image})["ok"] == true);
  CHECK(pagectl_json({"recover", image})["recovered"] == false);
  CHECK(pagectl({"read", "store:" + image, "0", "1"}).status == 0);
  CHECK(pagectl({"copy", "--force", image, dir.file("b.img")}).status == 0);
  CHECK(pagectl({"copy", "--force", dir.file("b.img"), image}).status == 0);
  CHECK(pagectl({"remove", image}).status == 0);
  CHECK(pagectl({"copy", dir.file("b.img"), image}).status == 0);
  CHECK(pagectl({"remove", image}).status == 0);
  CHECK(pagectl({"create", image}).status == 0);
  CHECK(kept.changed().empty());
}

TEST_CASE("a log whose image is gone keeps create, copy, check, recover and remove from its place") {
  const TempDir dir;
  const auto image = dir.file("a.img");
  write_file(dir.file("b.img"), random_bytes(1, 1));
  write_file(image + ".log.0000000001", "something");
  const std::vector<std::vector<std::string>> commands{
      {"create", image},  {"copy", dir.file("b.img"), image},
      {"check", image},   {"copy", "--force", dir.file("b.img"), image},
      {"recover", image}, {"remove", image}};
  for (const auto& command : commands) {
    INFO(command.front());
    const auto refused = pagectl(command);
    CHECK(refused.status == 1);
    CHECK_THAT(refused.err, Contains("the image is gone") && Contains("a.img.log.0000000001"));
    CHECK(names_in(dir.path()) == std::vector<std::string>{"a.img.log.0000000001", "b.img"});
  }
}

TEST_CASE("no image is made under the name of a file that a store keeps") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(1, 1));
  for (const char* end : {".log.0000000001", ".spare.0000000002", ".spill.0000000003", ".removed.0000000001"}) {
    const auto target = dir.file("a.img") + end;
    INFO(target);
    for (const auto& refused : {pagectl({"create", target}), pagectl({"copy", dir.file("a.img"), target})}) {
      CHECK(refused.status == 2);
      CHECK_THAT(refused.err, Contains("another name"));
    }
    CHECK(names_in(dir.path()) == std::vector<std::string>{"a.img"});
  }
}

TEST_CASE("hash is the XXH3-64 of the image") {
  const TempDir dir;
  write_file(dir.file("empty.img"), "");
  CHECK(pagectl({"hash", dir.file("empty.img")}).out == "2d06800538d394c2\n");
  unpack("small_crud.img", dir.file("small.img"));
  CHECK(pagectl({"hash", dir.file("small.img")}).out == std::string(small_crud.hash) + "\n");
  const auto document = pagectl_json({"hash", "file:" + dir.file("small.img")});
  CHECK(document["hash"] == small_crud.hash);
  CHECK(document["size_bytes"] == 1'245'184);
  CHECK(document["version"].is_null());
}

TEST_CASE("a hole has the hash of its zeros") {
  const TempDir dir;
  make_sparse(dir.file("hole.img"), 64 * page_bytes);
  write_file(dir.file("zeros.img"), std::string(64 * page_bytes, '\0'));
  patch_file(dir.file("hole.img"), 1'000'000, "in the middle");
  patch_file(dir.file("zeros.img"), 1'000'000, "in the middle");
  CHECK(pagectl({"hash", dir.file("hole.img")}).out == pagectl({"hash", dir.file("zeros.img")}).out);
}

TEST_CASE("a closed standard stream is an error, and never the image's own bytes") {
  TempDir dir;
  const std::string image = dir.file("x.img");
  write_file(image, random_bytes(16, 5));
  const std::string before = sha256_of(image);
  const auto in_shell = [&](const std::string& arguments, const std::string& streams) {
    return run(
        {"bash", "-c", "exec \"$0\" " + arguments + " " + streams, pagectl_program(), image, dir.file("copy.img")});
  };
  for (const char* streams : {"<&-", "<&- >&-"}) {
    const RunResult refused = in_shell("write \"$1\" 131072", streams);
    INFO(streams << ": " << refused.err);
    CHECK(refused.status == 1);
    CHECK(refused.err.find("Bad file descriptor") != std::string::npos);
    CHECK(sha256_of(image) == before);
  }
  for (const char* streams : {">&-", "<&- >&- 2>&-"}) {
    CHECK(in_shell("read \"$1\" 0 65536", streams).status == 1);
    CHECK(in_shell("copy --quiet \"$1\" \"$2\" --force", streams).status == 0);
    CHECK(sha256_of(dir.file("copy.img")) == before);
    CHECK(sha256_of(image) == before);
  }
}
