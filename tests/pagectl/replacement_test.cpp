// A file that is replaced whole, while others play with the folder that it is in.
#include "tests/support/catch.hpp"

#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/file_provider.hpp>

#include "client/pagectl/images/files.hpp"
#include "tests/support/files.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

std::function<void()> before_rename;

void call_before_rename() {
  if (const auto hook = std::exchange(before_rename, nullptr)) hook();
}

}  // namespace

// In the place of the C library's: what others do in the last moment before the kernel renames.
extern "C" {

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned int flags) noexcept {
  call_before_rename();
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  call_before_rename();
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

}  // extern "C"

namespace pageserver::pagectl {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::names_in;
using test::TempDir;

/// As copy does: an image at the path, written and flushed, and open until the end.
FileProvider written_at(const std::string& path, char value) {
  FileProvider image{path};
  image.grow(1);
  const std::vector<std::byte> data(page_size, static_cast<std::byte>(value));
  image.write(0, data);
  image.flush();
  return image;
}

Errc commit_error(ReplacementFile& file) {
  try {
    file.replace_target();
  } catch (const MemoryError& error) {
    return error.errc();
  }
  return {};
}

}  // namespace

TEST_CASE("a replaced file stays in the folder that it was begun in, wherever that is moved") {
  const TempDir dir;
  fs::create_directory(dir.file("one"));
  const bool there = GENERATE(false, true);
  if (there) std::ofstream{dir.file("one") + "/a.img"} << "old";
  std::optional<ReplacementFile> file(std::in_place, "write", dir.file("one") + "/a.img", there);
  const FileProvider image = written_at(file->path(), 'n');
  fs::rename(dir.file("one"), dir.file("two"));
  fs::create_directory(dir.file("one"));
  std::ofstream{dir.file("one") + "/a.img"} << "another's";
  if (GENERATE(false, true)) {
    file->replace_target();
    file.reset();
    CHECK(content_of(dir.file("two") + "/a.img") == std::string(page_size, 'n'));
    CHECK(names_in(dir.file("two")) == std::vector<std::string>{"a.img"});
  } else {
    file.reset();
    CHECK(names_in(dir.file("two")) == (there ? std::vector<std::string>{"a.img"} : std::vector<std::string>{}));
  }
  CHECK(content_of(dir.file("one") + "/a.img") == "another's");
  CHECK(names_in(dir.file("one")) == std::vector<std::string>{"a.img"});
}

TEST_CASE("what was written into another folder than the one that was looked at does not become the file") {
  const TempDir dir;
  fs::create_directory(dir.file("one"));
  std::ofstream{dir.file("one") + "/a.img"} << "old";
  std::optional<ReplacementFile> file(std::in_place, "write", dir.file("one") + "/a.img", true);
  fs::rename(dir.file("one"), dir.file("two"));
  fs::create_directory(dir.file("one"));
  const FileProvider image = written_at(file->path(), 'n');  // a file of that name is made in the new folder
  CHECK(commit_error(*file) == Errc::provider_error);
  file.reset();
  CHECK(content_of(dir.file("two") + "/a.img") == "old");
  CHECK(names_in(dir.file("two")) == std::vector<std::string>{"a.img"});
  CHECK_FALSE(fs::exists(dir.file("one") + "/a.img"));
}

TEST_CASE("a link or another file at the temporary name does not become the file, and is not removed") {
  const TempDir dir;
  std::optional<ReplacementFile> file(std::in_place, "write", dir.file("a.img"), false);
  const FileProvider image = written_at(file->path(), 'n');
  const std::string temporary = file->path();
  std::ofstream{dir.file("secret")} << "secret";
  fs::remove(temporary);
  const bool link = GENERATE(false, true);
  link ? fs::create_symlink(dir.file("secret"), temporary) : fs::rename(dir.file("secret"), temporary);
  CHECK(commit_error(*file) == Errc::provider_error);
  file.reset();
  CHECK_FALSE(fs::exists(dir.file("a.img")));
  CHECK(content_of(temporary) == "secret");
}

TEST_CASE("a target that is a link to nowhere, or appears meanwhile, is refused") {
  const TempDir dir;
  fs::create_symlink(dir.file("nowhere"), dir.file("link.img"));
  CHECK_THROWS_AS(ReplacementFile("write", dir.file("link.img"), true), MemoryError);
  ReplacementFile file{"write", dir.file("a.img"), false};
  const FileProvider image = written_at(file.path(), 'n');
  const bool link = GENERATE(false, true);
  link ? fs::create_symlink(dir.file("nowhere"), dir.file("a.img")) : void(std::ofstream{dir.file("a.img")} << "new");
  CHECK(commit_error(file) == Errc::already_exists);
  CHECK_FALSE(fs::exists(dir.file("nowhere")));
}

TEST_CASE("a target that appears in the last moment before the rename stays, and the copy is refused") {
  const TempDir dir;
  std::optional<ReplacementFile> file(std::in_place, GENERATE("create", "write"), dir.file("a.img"), false);
  const FileProvider image = written_at(file->path(), 'n');
  before_rename = [&] { std::ofstream{dir.file("a.img")} << "another's"; };
  CHECK(commit_error(*file) == Errc::already_exists);
  CHECK_FALSE(before_rename);
  file.reset();
  CHECK(content_of(dir.file("a.img")) == "another's");
  CHECK(names_in(dir.path()) == std::vector<std::string>{"a.img"});
}

}  // namespace pageserver::pagectl
