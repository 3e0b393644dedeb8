// The served directory, without a daemon: which names are stores, and how often the directory is read for long lists.
#include <unistd.h>

#include <fstream>
#include "tests/support/catch.hpp"

#include "server/stores/store_directory.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::server;

namespace {

struct Served {
  Served() {
    config.path = dir.path().string();
    config.create = config.remove = true;
  }
  void make(const std::string& file) const { std::ofstream(dir.file(file)).flush(); }
  StoreDirectory open() { return {storage::posix_file_system(), config, log}; }
  /// As if the directory had been changed last so long ago.
  void age(std::chrono::seconds by) const {
    std::filesystem::last_write_time(dir.path(), std::filesystem::file_time_type::clock::now() - by);
  }

  test::TempDir dir;
  DirectoryConfig config;
  Log log{LogFormat::text, LogLevel::error};
};

std::vector<std::string> all_names(StoreDirectory& directory, std::size_t at_once) {
  std::vector<std::string> all;
  for (std::string after;;) {
    const auto names = directory.names(after, at_once);
    if (names.empty()) return all;
    all.insert(all.end(), names.begin(), names.end());
    after = all.back();
  }
}

}  // namespace

TEST_CASE("served directory: names are those of images, in byte order, from any place on") {
  Served served;
  for (const char* file : {"b.img", "a.img", "B.img", "a-1.img", "x.img.log.0000000001", "no", ".img", "sp ace.img"})
    served.make(file);
  StoreDirectory directory = served.open();
  CHECK(directory.names("", 9) == std::vector<std::string>{"B", "a", "a-1", "b"});
  CHECK(directory.names("a", 1) == std::vector<std::string>{"a-1"});
  CHECK(directory.names("aa", 9) == std::vector<std::string>{"b"});
  CHECK(directory.names("b", 9).empty());
  CHECK(directory.names("", 0).empty());
}

TEST_CASE("served directory: a long list reads the directory once, and a new one when something changed") {
  Served served;
  constexpr std::size_t count = 500;
  for (std::size_t i = 0; i < count; ++i) served.make("s" + std::to_string(i) + ".img");
  served.age(std::chrono::seconds(10));
  StoreDirectory directory = served.open();
  CHECK(all_names(directory, 32).size() == count);
  CHECK(all_names(directory, 32).size() == count);
  CHECK(directory.readings() == 1);
  served.make("another.img");
  CHECK(directory.names("", 1) == std::vector<std::string>{"another"});
  CHECK(directory.readings() == 2);
  directory.create("aa", 1);
  CHECK(directory.names("", 1) == std::vector<std::string>{"aa"});
  directory.remove("aa");
  CHECK(directory.names("", 1) == std::vector<std::string>{"another"});
}

TEST_CASE("served directory: where it changed just now, each list from its beginning looks anew") {
  Served served;
  served.make("a.img");
  StoreDirectory directory = served.open();
  served.age(std::chrono::seconds(0));
  CHECK(directory.names("", 9).size() == 1);
  const std::uint64_t before = directory.readings();
  CHECK(directory.names("", 9).size() == 1);
  CHECK(directory.readings() == before + 1);
}

TEST_CASE("served directory: sizes are in pages, and what is no image has none") {
  Served served;
  StoreDirectory directory = served.open();
  directory.create("a", 3);
  CHECK(directory.pages_of("a") == 3);
  CHECK_FALSE(directory.pages_of("b"));
  std::filesystem::create_symlink(served.dir.file("a.img"), served.dir.file("link.img"));
  std::filesystem::create_directory(served.dir.file("folder.img"));
  CHECK_FALSE(directory.pages_of("link"));
  CHECK_FALSE(directory.pages_of("folder"));
  directory.require("a");
  for (const char* name : {"b", "link", "folder", "..", "a/b"}) {
    INFO(name);
    Errc code{};
    try {
      directory.require(name);
    } catch (const MemoryError& error) {
      code = error.errc();
    }
    CHECK(code == Errc::not_found);
  }
}
