#include <sys/stat.h>
#include <unistd.h>
#include <pageserver/file_provider.hpp>
#include <pageserver/heap_provider.hpp>

#include <filesystem>
#include <sstream>
#include <type_traits>

#include "storage/image/file_provider_access.hpp"
#include "tests/support/files.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/forked.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

constexpr ::uid_t somebody = 65534;

/// What opening `path` as another user says.
std::string opened_as_somebody(const std::string& path, Access access = Access::write) {
  Forked child{[&](auto report, auto) {
    if (::setegid(somebody) != 0 || ::seteuid(somebody) != 0) return report("could not change the user");
    try {
      const FileProvider provider{path, access};
      report("opened");
    } catch (const MemoryError& error) {
      report(std::string{to_string(error.errc())} + " " + error.what());
    }
  }};
  return child.line();
}

/// A child that has `path` open until the parent lets go.
Forked holder_of(const std::string& path, Access access) {
  return Forked{[path, access](auto report, auto wait_for_parent) {
    const FileProvider provider{path, access};
    report("open");
    wait_for_parent();
  }};
}

}  // namespace

TEST_CASE("a file provider prints its path and pages") {
  const TempDir folder;
  FileProvider provider{folder.path() / "db.img"};
  provider.grow(19);
  std::ostringstream text;
  text << provider;
  CHECK(text.str() == "FileProvider(\"" + folder.file("db.img") + "\", 19 pages)");
  CHECK(provider.path() == folder.path() / "db.img");
}

TEST_CASE("providers move and do not copy") {
  static_assert(!std::is_copy_constructible_v<FileProvider> && !std::is_copy_assignable_v<FileProvider>);
  static_assert(std::is_nothrow_move_constructible_v<FileProvider> && std::is_nothrow_move_assignable_v<FileProvider>);
  static_assert(!std::is_copy_constructible_v<HeapProvider> && std::is_nothrow_move_constructible_v<HeapProvider>);
  const TempDir folder;
  FileProvider one{folder.file("a.img")};
  one.grow(1);
  FileProvider two{std::move(one)};
  CHECK(two.pages() == 1);
  check_error(thrown_by([&] { one.pages(); }), Errc::invalid_argument, {"moved from"});
  CHECK(one.path().empty());
  FileProvider three{folder.file("b.img")};
  three = std::move(two);
  CHECK(three.pages() == 1);
  CHECK_NOTHROW(FileProvider{folder.file("b.img")});  // the assignment released it

  HeapProvider heap;
  heap.grow(2);
  heap.write(5, bytes_of("abc"));
  HeapProvider moved{std::move(heap)};
  CHECK(heap.pages() == 0);
  HeapProvider assigned;
  assigned.grow(1);
  assigned = std::move(moved);
  CHECK(assigned.pages() == 2);
  std::vector<std::byte> buffer(3);
  assigned.read(5, buffer);
  CHECK(buffer == bytes_of("abc"));
}

TEST_CASE("the file is the image, byte for byte") {
  const TempDir folder;
  make_file(folder.file("theirs.img"), 2 * 65536, 'q');
  FileProvider theirs{folder.file("theirs.img")};
  CHECK(theirs.pages() == 2);
  std::vector<std::byte> buffer(10);
  theirs.read(65530, buffer);
  CHECK(buffer == filled(10, 'q'));
  theirs.grow(1);
  theirs.write(2 * page_size, filled(page_size, 'r'));
  std::ifstream raw{folder.file("theirs.img"), std::ios::binary};
  const std::string content{std::istreambuf_iterator<char>{raw}, {}};
  CHECK((content == std::string(2 * 65536, 'q') + std::string(65536, 'r')));
}

TEST_CASE("access=read never creates, never changes, and shares the file with readers") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  check_error(thrown_by([&] { FileProvider(path, Access::read); }), Errc::not_found, {path});
  CHECK_FALSE(std::filesystem::exists(path));
  FileProvider{path}.grow(1);
  FileProvider one{path, Access::read};
  FileProvider two{path, Access::read};
  check_error(thrown_by([&] { one.write(0, bytes_of("x")); }), Errc::read_only, {"write to", path, "access=write"});
  check_error(thrown_by([&] { one.grow(1); }), Errc::read_only, {"grow", path});
  CHECK_NOTHROW(one.flush());
  check_error(thrown_by([&] { FileProvider{path}; }), Errc::busy, {"this process itself"});
  check_error(thrown_by([&] { FileProvider(path, Access::fork); }), Errc::unsupported, {"access=fork"});
}

TEST_CASE("a second process is told who holds the file") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  auto holder = holder_of(path, Access::write);
  REQUIRE(holder.line() == "open");
  for (const auto access : {Access::write, Access::read}) {
    check_error(thrown_by([&] { FileProvider(path, access); }), Errc::busy,
                {path, "locked by process " + std::to_string(holder.pid()), "(storage_test)"});
  }
  holder.let_go();
  holder.wait();
  CHECK_NOTHROW(FileProvider{path});
}

TEST_CASE("a holder that can't be seen is said to be so") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  auto holder = holder_of(path, Access::write);
  REQUIRE(holder.line() == "open");
  FaultyFileSystem files;
  files.fail(Call::open, EACCES, 2);  // the folder and the image open, /proc does not
  check_error(thrown_by([&] { storage::FileProviderAccess::open(files, path, Access::write); }), Errc::busy,
              {"another process, not visible from here"});
}

TEST_CASE("readers share a file over processes, and a writer waits for none of them") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  FileProvider{path}.grow(1);
  auto reader = holder_of(path, Access::read);
  REQUIRE(reader.line() == "open");
  CHECK_NOTHROW(FileProvider(path, Access::read));
  check_error(thrown_by([&] { FileProvider{path}; }), Errc::busy, {"process " + std::to_string(reader.pid())});
}

TEST_CASE("the kernel releases the lock of a process that dies") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  auto holder = holder_of(path, Access::write);
  REQUIRE(holder.line() == "open");
  holder.kill();
  CHECK_NOTHROW(FileProvider{path});
}

TEST_CASE("another user's file says which uid is needed", "[root]") {
  if (::geteuid() != 0) return skip("needs root to become another user");
  const TempDir folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0755});
  const auto path = folder.file("db.img");
  FileProvider{path}.grow(1);
  REQUIRE(::chmod(path.c_str(), 0600) == 0);

  SECTION("no permission on the file") {
    const auto text = opened_as_somebody(path);
    INFO(text);
    CHECK(text.starts_with("permission_denied open"));
    CHECK(contains(text, "the file \"" + path + "\" belongs to uid 0 gid 0 with mode 0600"));
    CHECK(contains(text, "this process runs as uid 65534"));
    CHECK(contains(text, "run this process as uid 0"));
  }
  SECTION("no permission to create in the folder") {
    const auto text = opened_as_somebody(folder.file("new.img"));
    INFO(text);
    CHECK(text.starts_with("permission_denied create"));
    CHECK(contains(text, "the folder \"" + folder.path().string() + "\" belongs to uid 0"));
    CHECK(contains(text, "this process runs as uid 65534"));
  }
  SECTION("no permission to enter the folder") {
    std::filesystem::permissions(folder.path(), std::filesystem::perms{0700});
    const auto text = opened_as_somebody(path);
    INFO(text);
    CHECK(text.starts_with("permission_denied open"));
    CHECK(contains(text, "the folder \"" + folder.path().string() + "\" belongs to uid 0"));
  }
  SECTION("reading is enough for reading") {
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    CHECK(opened_as_somebody(path, Access::read) == "opened");
    CHECK(contains(opened_as_somebody(path), "permission_denied"));
  }
}

TEST_CASE("a file provider opens over a file system of the test's own and flushes both file and entry") {
  const TempDir folder;
  FaultyFileSystem files;
  auto provider = storage::FileProviderAccess::open(files, folder.file("db.img"), Access::write);
  provider.grow(1);
  provider.flush();
  CHECK(files.calls(Call::sync_data) == 1);
  CHECK(files.calls(Call::sync) == 1);
  files.fail(Call::sync_data, EIO, 0, 1);
  CHECK_THROWS_AS(provider.flush(), MemoryError);
  CHECK_THROWS_AS(provider.flush(), MemoryError);
  std::filesystem::resize_file(folder.file("db.img"), 0);
  check_error(thrown_by([&] { provider.flush(); }), Errc::provider_error, {"flush", "someone else"});
}

TEST_CASE("a file's close says what the system says, and the file is free all the same") {
  const TempDir folder;
  const std::string path = folder.file("db.img");
  FaultyFileSystem files;
  for (const auto& [error, code] : {std::pair{EIO, Errc::provider_error}, {EDQUOT, Errc::no_space}}) {
    auto provider = storage::FileProviderAccess::open(files, path, Access::write);
    provider.grow(1);
    files.fail(Call::close, error);
    check_error(thrown_by([&] { provider.close(); }), code, {"close", path});
    files.heal(Call::close);
    CHECK_NOTHROW(provider.close());
    CHECK_NOTHROW(FileProvider{path});
    CHECK(errc_of([&] { provider.grow(1); }) == Errc::invalid_argument);
  }
  // A signal that came meanwhile is no failure.
  auto provider = storage::FileProviderAccess::open(files, path, Access::write);
  files.fail(Call::close, EINTR);
  CHECK_NOTHROW(provider.close());
  files.heal(Call::close);
  CHECK(files.open_files() == 0);
}

TEST_CASE("a child's close of its parent's file closes nothing") {
  const TempDir folder;
  FileProvider provider{folder.file("db.img")};
  Forked child{[&](auto report, auto) {
    try {
      provider.close();
      report("closed");
    } catch (const MemoryError& error) {
      report(std::string{to_string(error.errc())});
    }
  }};
  CHECK(child.line() == "connection_lost");
  child.wait();
  CHECK(errc_of([&] { FileProvider{folder.file("db.img")}; }) == Errc::busy);
  CHECK(provider.grow(1) == 0);
}

TEST_CASE("an impossible heap is no_space and a large one costs nothing until it is used") {
  HeapProvider heap;
  check_error(thrown_by([&] { heap.grow(UINT64_MAX); }), Errc::no_space,
              {"grow pages=0 new_pages=18446744073709551615"});
  check_error(thrown_by([&] { heap.grow(std::uint64_t{1} << 40); }), Errc::no_space, {"new_pages=1099511627776"});
  CHECK(heap.grow(1) == 0);
}

}  // namespace pageserver::test
