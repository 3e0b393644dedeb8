// copy from file to file.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include "tests/support/catch.hpp"

#include "tests/pagectl/tool.hpp"

using namespace pageserver::test;

namespace {

/// How much of a file is in the page cache.
std::uint64_t cached_bytes(const std::string& path) {
  constexpr std::size_t unit = 4096;
  const std::size_t size = std::filesystem::file_size(path);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* const there = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  ::close(file);
  REQUIRE(there != MAP_FAILED);
  std::vector<unsigned char> states(size / unit);
  REQUIRE(::mincore(there, size, states.data()) == 0);
  ::munmap(there, size);
  return unit * static_cast<std::uint64_t>(
                    std::count_if(states.begin(), states.end(), [](auto state) { return (state & 1) != 0; }));
}

}  // namespace

TEST_CASE("a copied file has the same bytes") {
  const TempDir dir;
  for (const std::uint64_t pages : {0u, 1u, 4u, 5u, 133u}) {
    write_file(dir.file("a.img"), random_bytes(pages, pages));
    const auto report = pagectl_json({"copy", "--check", "--force", dir.file("a.img"), dir.file("b.img")});
    INFO(pages << " pages");
    CHECK((read_file(dir.file("b.img")) == random_bytes(pages, pages)));
    CHECK(report["bytes"] == pages * page_bytes);
    CHECK(report["bytes_sent"] == pages * page_bytes);
    CHECK(report["version"].is_null());
    CHECK(report["atomic"] == true);
    CHECK(report["checked"] == true);
  }
  CHECK(names_in(dir.path()) == std::vector<std::string>{"a.img", "b.img"});
}

TEST_CASE("zeros take no room in a copy") {
  const TempDir dir;
  // Zeros that the source stores, holes, and data that begins and ends within a page.
  write_file(dir.file("a.img"), std::string(256 * page_bytes, '\0'));
  std::filesystem::resize_file(dir.file("a.img"), 512 * page_bytes);
  patch_file(dir.file("a.img"), 100'000, std::string(10'000, 'x'));
  patch_file(dir.file("a.img"), 400 * page_bytes, random_bytes(1, 1));
  const auto report = pagectl_json({"copy", dir.file("a.img"), dir.file("b.img")});
  CHECK((read_file(dir.file("b.img")) == read_file(dir.file("a.img"))));
  CHECK(allocated_bytes(dir.file("b.img")) <= 128u * 1024);
  CHECK(report["bytes_sent"] <= 128 * 1024);
}

TEST_CASE("a large copy leaves little of itself in memory") {
  const TempDir dir;
  struct statfs system {};
  REQUIRE(::statfs(dir.path().c_str(), &system) == 0);
  constexpr std::uint64_t mib = 1u << 20;
  write_file(dir.file("a.img"), random_bytes(32 * mib / page_bytes, 1));
  pagectl_json({"copy", dir.file("a.img"), dir.file("b.img")});
  CHECK(cached_bytes(dir.file("b.img")) == 32 * mib);
  write_file(dir.file("a.img"), random_bytes(128 * mib / page_bytes, 2));
  pagectl_json({"copy", "--force", dir.file("a.img"), dir.file("b.img")});
  if (system.f_type != TMPFS_MAGIC) CHECK(cached_bytes(dir.file("b.img")) <= 72 * mib);  // its files are memory
  CHECK(sha256_of(dir.file("b.img")) == sha256_of(dir.file("a.img")));
}

TEST_CASE("a terabyte with little in it is copied in the time of the little") {
  const TempDir dir;
  make_sparse(dir.file("a.img"), 1ull << 40);
  patch_file(dir.file("a.img"), 0, "first");
  patch_file(dir.file("a.img"), 1ull << 39, random_bytes(16, 3));
  patch_file(dir.file("a.img"), (1ull << 40) - 4, "last");
  const auto report = pagectl_json({"copy", "--check", dir.file("a.img"), dir.file("b.img")});
  CHECK(std::filesystem::file_size(dir.file("b.img")) == 1ull << 40);
  CHECK(allocated_bytes(dir.file("b.img")) <= 2u << 20);
  CHECK(report["seconds"] < 10);
  CHECK(pagectl({"read", dir.file("b.img"), "1099511627772", "4"}).out == "last");
  CHECK(pagectl({"diff", dir.file("a.img"), dir.file("b.img")}).status == 0);
}

TEST_CASE("a file that is there is replaced only by force, and whole") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(2, 1));
  write_file(dir.file("b.img"), random_bytes(9, 2));
  ::chmod(dir.file("b.img").c_str(), 0600);
  const auto refused = pagectl({"copy", dir.file("a.img"), dir.file("b.img")});
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, Contains("--force"));
  CHECK((read_file(dir.file("b.img")) == random_bytes(9, 2)));
  CHECK(pagectl({"copy", "--force", dir.file("a.img"), dir.file("b.img")}).status == 0);
  CHECK((read_file(dir.file("b.img")) == random_bytes(2, 1)));
  CHECK((std::filesystem::status(dir.file("b.img")).permissions() & std::filesystem::perms::mask) ==
        static_cast<std::filesystem::perms>(0600));
}

TEST_CASE("force replaces what a symbolic link points to") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(2, 1));
  std::filesystem::create_directory(dir.path() / "real");
  write_file(dir.file("real/b.img"), "");
  std::filesystem::create_symlink("real/b.img", dir.path() / "b.img");
  CHECK(pagectl({"copy", "--force", dir.file("a.img"), dir.file("b.img")}).status == 0);
  CHECK(std::filesystem::is_symlink(dir.path() / "b.img"));
  CHECK((read_file(dir.file("real/b.img")) == random_bytes(2, 1)));
}

TEST_CASE("a file in use is not replaced, not even by force") {
  const TempDir dir;
  write_file(dir.file("a.img"), random_bytes(2, 1));
  write_file(dir.file("b.img"), random_bytes(1, 2));
  const int held = ::open(dir.file("b.img").c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(::flock(held, LOCK_SH) == 0);
  const auto refused = pagectl({"copy", "--force", dir.file("a.img"), dir.file("b.img")});
  ::close(held);
  CHECK(refused.status == 75);
  CHECK_THAT(refused.err, Contains("in use"));
  CHECK((read_file(dir.file("b.img")) == random_bytes(1, 2)));
  CHECK(pagectl({"copy", "--force", dir.file("a.img"), dir.file("a.img")}).status == 1);
  CHECK((read_file(dir.file("a.img")) == random_bytes(2, 1)));
}

TEST_CASE("a copy that fails leaves nothing behind") {
  const TempDir dir;
  CHECK(pagectl({"copy", dir.file("missing.img"), dir.file("b.img")}).status == 1);
  write_file(dir.file("bad.img"), "no image");
  CHECK(pagectl({"copy", dir.file("bad.img"), dir.file("b.img")}).status == 1);
  CHECK(pagectl({"copy", dir.file("bad.img"), dir.file("missing/b.img")}).status == 1);
  write_file(dir.file("a.img"), random_bytes(4, 1));
  const auto folder = pagectl({"copy", "--force", dir.file("a.img"), dir.path().string()});
  CHECK(folder.status == 1);
  CHECK_THAT(folder.err, Contains("it is a folder"));
  // Past the limit on the size of a file a write fails in the middle.
  const auto full = run({"bash", "-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" copy \"$1\" \"$2\"", pagectl_program(),
                         dir.file("a.img"), dir.file("b.img")});
  CHECK(full.status == 1);
  CHECK(names_in(dir.path()) == std::vector<std::string>{"a.img", "bad.img"});
}
