// Which files beside an image are a store's, and which are somebody else's.
#include "storage/file/siblings.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <limits>

#include "storage/image/image_file.hpp"
#include "tests/support/neighbours.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using storage::Folder;
using storage::ImageFile;
using storage::ImageFileOptions;
using storage::kept_name;
using storage::longest_sibling_name;
using storage::parse_sibling_name;
using storage::resembles_sibling;
using storage::Sibling;
using storage::sibling_name;
using storage::SiblingFiles;

const std::vector<std::string> forms{"a.img.log.0000000001",   "a.img.log.9999999999",   "a.img.spare.0000000001",
                                     "a.img.spill.0000000000", "a.img.spill.0000000007", "a.img.removed.0000000001",
                                     "a.img.resume.0000000001"};

SiblingFiles look(const TempDir& dir) {
  return storage::list_siblings(Folder::open(storage::posix_file_system(), dir.path().string()), "a.img");
}

}  // namespace

TEST_CASE("siblings: a name is the image's, a word and ten digits, there and back") {
  CHECK(sibling_name("a.img", Sibling::log, 12) == "a.img.log.0000000012");
  CHECK(sibling_name("a.img", Sibling::log, storage::sibling_number_max) == "a.img.log.9999999999");
  CHECK(sibling_name("a.img", Sibling::spare, 3) == "a.img.spare.0000000003");
  CHECK(sibling_name("a.img", Sibling::spill, 0) == "a.img.spill.0000000000");
  CHECK(sibling_name("a.img", Sibling::removed, 1) == "a.img.removed.0000000001");
  CHECK(sibling_name("a.img", Sibling::resume, 1) == "a.img.resume.0000000001");
  for (const auto& name : forms) {
    INFO(name);
    const auto parsed = parse_sibling_name(name);
    REQUIRE(parsed);
    CHECK(parsed->image_name == "a.img");
    CHECK(sibling_name("a.img", parsed->sibling, parsed->number) == name);
    CHECK(storage::resembles_sibling(name));
  }
}

TEST_CASE("siblings: what is nearly such a name is none of that image") {
  for (const auto& name : neighbours_of("a.img")) {
    INFO(name);
    const auto parsed = parse_sibling_name(name);
    CHECK((!parsed || parsed->image_name != "a.img"));
  }
  for (const char* name : {"", "0000000001", ".log.0000000001", "log.0000000001"})
    CHECK_FALSE(parse_sibling_name(name));
}

TEST_CASE("siblings: names of images that resemble those of a store's files") {
  for (const char* name : {"demo.img.log.0000000001.img", "demo.img.log.backup.img", "demo.img.spare.monday.img",
                           "demo.img.spill.x.img", "demo.img.removed.img", "demo.img.log.img", "x.log.0000000001"})
    CHECK(storage::resembles_sibling(name));
  for (const char* name : {"demo.img", "demo.log.img", "demo.log.1.img", "demo.img.img", "demo.img.logs.img",
                           "img.log.img", ".img.log.img", "demo.img-log.1.img", "demo.IMG.LOG.1.img"})
    CHECK_FALSE(storage::resembles_sibling(name));
}

TEST_CASE("siblings: a look finds the files of an image, those of the log oldest first") {
  const TempDir dir;
  make_file(dir.file("a.img.log.0000000010"), 1);
  make_file(dir.file("a.img.log.0000000009"), 1);
  make_file(dir.file("b.img.log.0000000001"), 1);
  make_file(dir.file("a.img.spare.0000000002"), 1);
  make_file(dir.file("a.img.spill.0000000002"), 1);
  make_file(dir.file("a.img.removed.0000000001"), 1);
  const KeptFiles kept{dir.path(), neighbours_of("a.img")};
  const SiblingFiles siblings = look(dir);
  CHECK(siblings.log == std::vector<std::string>{"a.img.log.0000000009", "a.img.log.0000000010"});
  CHECK(siblings.scratch.size() == 2);
  CHECK(siblings.removed == std::vector<std::string>{"a.img.removed.0000000001"});
  storage::remove_scratch_files(Folder::open(storage::posix_file_system(), dir.path().string()), "a.img");
  CHECK(look(dir).scratch.empty());
  CHECK(look(dir).log.size() == 2);
  CHECK(kept.changed().empty());
}

TEST_CASE("siblings: a folder, a link or a pipe is none, and in the log's place it is refused") {
  const TempDir dir;
  const std::string precious = dir.file("precious");
  make_file(precious, 3);
  const std::string kind = GENERATE("a folder", "a symbolic link", "a device, a pipe or a socket");
  const auto put = [&](const std::string& name) {
    if (kind == "a folder") std::filesystem::create_directory(dir.path() / name);
    if (kind == "a symbolic link") std::filesystem::create_symlink(precious, dir.path() / name);
    if (kind == "a device, a pipe or a socket") REQUIRE(::mkfifo(dir.file(name).c_str(), 0600) == 0);
  };
  for (const auto& name : forms)
    if (name.find(".log.") == std::string::npos) put(name);
  CHECK(look(dir).scratch.empty());
  CHECK(look(dir).removed.empty());
  ImageFile::open(storage::posix_file_system(), dir.file("a.img"), {});
  put("a.img.log.0000000001");
  for (const bool read_only : {true, false}) {
    ImageFileOptions options;
    options.read_only = read_only;
    check_error(thrown_by([&] { ImageFile::open(storage::posix_file_system(), dir.file("a.img"), options); }),
                Errc::provider_error, {"a.img.log.0000000001", kind, "move it away"});
  }
  for (const auto& name : forms) {
    if (name.find("999") != std::string::npos) continue;
    INFO(name);
    std::filesystem::file_status status = std::filesystem::symlink_status(dir.path() / name);
    CHECK_FALSE((status.type() == std::filesystem::file_type::regular ||
                 status.type() == std::filesystem::file_type::not_found));
  }
  CHECK(std::filesystem::file_size(precious) == 3);
}

TEST_CASE("siblings: the name of what is kept aside is short where it has to be, and never longer than others") {
  const std::int64_t now = 1'795'838'462ll * 1'000'000'000;
  CHECK(kept_name("a.img", 3, now, false) == "a.img.kept-20261128T040102Z.0000000003");
  CHECK(kept_name("a.img", 3, now, true) == "a.img.kept-1795838462");
  CHECK(longest_sibling_name("a.img") == "a.img.removed.0000000001");
  for (const std::int64_t at : {now, std::numeric_limits<std::int64_t>::max()})
    CHECK(kept_name("a.img", 9'999'999'999, at, true).size() <= longest_sibling_name("a.img").size());
  for (const bool short_form : {false, true}) {
    CHECK_FALSE(parse_sibling_name(kept_name("a.img", 3, now, short_form)));
    CHECK_FALSE(resembles_sibling(kept_name("a.img", 3, now, short_form)));
  }
}

TEST_CASE("siblings: no image is made or opened under the name of a store's file") {
  const TempDir dir;
  for (const auto& name : forms) {
    INFO(name);
    const auto open = [&](bool read_only) {
      ImageFileOptions options;
      options.read_only = read_only;
      ImageFile::open(storage::posix_file_system(), dir.file(name), options);
    };
    check_error(thrown_by([&] { open(false); }), Errc::invalid_argument, {name, "\"a.img\"", "another name"});
    CHECK_FALSE(std::filesystem::exists(dir.file(name)));
    make_file(dir.file(name), page_size);
    check_error(thrown_by([&] { open(true); }), Errc::invalid_argument, {name, "\"a.img\"", "another name"});
    CHECK(std::filesystem::file_size(dir.file(name)) == page_size);
  }
}

}  // namespace pageserver::test
