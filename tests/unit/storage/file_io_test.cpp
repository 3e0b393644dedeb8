#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

#include "storage/file/file_io.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/forked.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {

using storage::File;

TEST_CASE("short transfers and interruptions are looped until all is done") {
  const TempDir folder;
  FaultyFileSystem files;
  files.transfer_at_most(7);
  for (const auto call : {Call::open, Call::read, Call::write, Call::truncate, Call::sync_data, Call::status}) {
    files.interrupt(call);
  }
  const auto file = File::open(files, folder.file("f"), O_RDWR | O_CREAT, 0600, "open");
  auto data = filled(1000, 0);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  file.write(3, data);
  CHECK(files.calls(Call::write) == 2 * 143);
  std::vector<std::byte> read(1000);
  file.read(3, read);
  CHECK(read == data);
  file.truncate(500);
  file.sync_data();
  CHECK(file.status().size_bytes == 500);
}

TEST_CASE("a file that ends inside a read is an error that says where") {
  const TempDir folder;
  make_file(folder.file("f"), 100);
  const auto file = File::open(storage::posix_file_system(), folder.file("f"), O_RDONLY, 0, "open");
  std::vector<std::byte> buffer(50);
  check_error(thrown_by([&] { file.read(70, buffer); }), Errc::provider_error,
              {"read offset=70 length=50", "ends at byte 100"});
  CHECK(file.read_up_to(70, buffer) == 30);
  CHECK(file.read_up_to(200, buffer) == 0);
}

TEST_CASE("each failing call names action, path, the system's words and a remedy") {
  const TempDir folder;
  const auto path = folder.file("f");
  make_file(path, 10);
  struct Expected {
    int error;
    Errc code;
    const char* name;
    const char* remedy;
  };
  for (const auto& [error, code, name, remedy] : {
           Expected{ENOSPC, Errc::no_space, "(ENOSPC)", "free some room"},
           Expected{EDQUOT, Errc::no_space, "(EDQUOT)", "quota"},
           Expected{EROFS, Errc::read_only, "(EROFS)", "access=read"},
           Expected{EIO, Errc::provider_error, "(EIO)", "dmesg"},
           Expected{EFBIG, Errc::limit_exceeded, "(EFBIG)", "ask for less"},
           Expected{EMFILE, Errc::limit_exceeded, "(EMFILE)", "ulimit -n"},
           Expected{ENFILE, Errc::limit_exceeded, "(ENFILE)", "fs.file-max"},
           Expected{EISDIR, Errc::provider_error, "(EISDIR)", "name the image file"},
           Expected{ENOTDIR, Errc::provider_error, "(ENOTDIR)", "correct the path"},
           Expected{ELOOP, Errc::provider_error, "(ELOOP)", "symbolic link"},
           Expected{ENAMETOOLONG, Errc::invalid_argument, "(ENAMETOOLONG)", "shorter"},
           Expected{EEXIST, Errc::already_exists, "(EEXIST)", "another name"},
           Expected{ETXTBSY, Errc::busy, "(ETXTBSY)", "stop what uses it"},
           Expected{ESTALE, Errc::provider_error, "(ESTALE)", "open it again"},
           Expected{ENOMEM, Errc::provider_error, "(ENOMEM)", "memory"},
           Expected{ENOLCK, Errc::provider_error, "(ENOLCK)", "elsewhere"},
           Expected{EOPNOTSUPP, Errc::unsupported, "(EOPNOTSUPP)", "elsewhere"},
           Expected{EPERM, Errc::permission_denied, "(EPERM)", "runs as uid"},
           Expected{EBADF, Errc::provider_error, "(EBADF)", "Bad file descriptor"},
       }) {
    FaultyFileSystem files;
    const auto file = File::open(files, path, O_RDWR, 0, "open");
    files.fail(Call::write, error);
    check_error(thrown_by([&, &file = file] { file.write(5, bytes_of("abc")); }), code,
                {"write offset=5 length=3 of", path, name, remedy});
  }
  CHECK(std::string{storage::file_error(storage::posix_file_system(), "open", path, 4095).what()}.find("errno 4095") !=
        std::string::npos);
}

TEST_CASE("a write that takes nothing is an error and not an endless loop") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto file = File::open(files, folder.file("f"), O_RDWR | O_CREAT, 0600, "open");
  files.transfer_at_most(0);
  check_error(thrown_by([&] { file.write(0, bytes_of("abc")); }), Errc::provider_error, {"EIO"});
}

TEST_CASE("what a file system can't do is an answer and not an error") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto file = File::open(files, folder.file("f"), O_RDWR | O_CREAT, 0600, "open");
  CHECK(file.reserve(0, 4096));
  CHECK(file.punch_hole(0, 4096));
  files.fail(Call::reserve, EOPNOTSUPP);
  files.fail(Call::punch_hole, EOPNOTSUPP);
  CHECK_FALSE(file.reserve(0, 4096));
  CHECK_FALSE(file.punch_hole(0, 4096));
  files.fail(Call::reserve, ENOSPC);
  files.fail(Call::punch_hole, EIO);
  check_error(thrown_by([&] { file.reserve(0, 4096); }), Errc::no_space, {"reserve offset=0 length=4096"});
  check_error(thrown_by([&] { file.punch_hole(0, 4096); }), Errc::provider_error, {"zero offset=0 length=4096"});
}

TEST_CASE("a missing file and a missing folder are told apart") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  check_error(thrown_by([&] { File::open(files, folder.file("none"), O_RDONLY, 0, "open"); }), Errc::not_found,
              {"open", folder.file("none"), "there is no such file"});
  check_error(thrown_by([&] { File::open(files, folder.file("a/b/f"), O_RDWR | O_CREAT, 0600, "create"); }),
              Errc::not_found, {"create", "the folder \"" + folder.file("a/b") + "\" does not exist", "mkdir -p"});
}

TEST_CASE("a file is closed with its object, once, also after moves") {
  const TempDir folder;
  FaultyFileSystem files;
  {
    auto one = File::open(files, folder.file("a"), O_RDWR | O_CREAT, 0600, "open");
    auto two = File::open(files, folder.file("b"), O_RDWR | O_CREAT, 0600, "open");
    CHECK(files.open_files() == 2);
    one = std::move(two);
    CHECK(files.open_files() == 1);
    const File three{std::move(one)};
    CHECK(three.path() == folder.file("b"));
    CHECK(three.is_open());
  }
  CHECK(files.open_files() == 0);
}

TEST_CASE("folders are listed, synced, and their files renamed and removed") {
  const TempDir folder;
  FaultyFileSystem files;
  make_file(folder.file("a"), 1);
  storage::rename_file(files, folder.file("a"), folder.file("b"));
  storage::FileStatus status;
  CHECK_FALSE(storage::exists(files, folder.file("a"), status));
  CHECK(storage::exists(files, folder.file("b"), status));
  CHECK(storage::list_folder(files, folder.path().string()) == std::vector<std::string>{"b"});
  storage::sync_parent_folder(files, folder.file("b"));
  CHECK(files.calls(Call::sync) == 1);
  CHECK(storage::remove_file(files, folder.file("b")));
  CHECK_FALSE(storage::remove_file(files, folder.file("b")));
  CHECK_THROWS_AS(storage::rename_file(files, folder.file("x"), folder.file("y")), MemoryError);
  CHECK_THROWS_AS(storage::list_folder(files, folder.file("x")), MemoryError);
  files.fail(Call::status_of, EIO);
  CHECK_THROWS_AS(storage::exists(files, folder.file("b"), status), MemoryError);
  files.fail(Call::remove, EIO);
  CHECK_THROWS_AS(storage::remove_file(files, folder.file("b")), MemoryError);
}

TEST_CASE("the folder and the name of a path") {
  CHECK(storage::parent_folder("/a/b/c") == "/a/b");
  CHECK(storage::parent_folder("/a") == "/");
  CHECK(storage::parent_folder("/") == "/");
  CHECK(storage::parent_folder("a") == ".");
  CHECK(storage::parent_folder("a//b") == "a");
  CHECK(storage::parent_folder("a/b/") == "a");
  CHECK(storage::parent_folder("") == ".");
  CHECK(storage::file_name("/a/b") == "b");
  CHECK(storage::file_name("b") == "b");
}

TEST_CASE("open_beneath can't leave the folder") {
  const TempDir folder, outside;
  auto& files = storage::posix_file_system();
  make_file(outside.file("secret"), 1);
  make_file(folder.file("inside"), 1);
  std::filesystem::create_symlink(outside.file("secret"), folder.file("link"));
  std::filesystem::create_directory_symlink(outside.path(), folder.file("out"));
  const auto directory = File::open(files, folder.path().string(), O_RDONLY | O_DIRECTORY, 0, "open");
  const auto opens = [&](const std::string& name) {
    const auto result = files.open_beneath(directory.descriptor(), name, O_RDONLY, 0);
    if (result.ok()) files.close(static_cast<int>(result.value));
    return result.ok();
  };
  CHECK(opens("inside"));
  for (const auto* name : {"link", "out/secret", "../x", "..", "/etc/passwd", "./../x"}) {
    INFO(name);
    CHECK_FALSE(opens(name));
  }
  const auto made = files.open_beneath(directory.descriptor(), "new", O_RDWR | O_CREAT | O_EXCL, 0600);
  REQUIRE(made.ok());
  files.close(static_cast<int>(made.value));
  CHECK(files.remove_beneath(directory.descriptor(), "new").ok());
  CHECK_FALSE(files.remove_beneath(directory.descriptor(), "out/secret").ok());
  CHECK_FALSE(files.remove_beneath(directory.descriptor(), "..").ok());
  CHECK(std::filesystem::exists(outside.file("secret")));
}

TEST_CASE("a size past the process's limit is an error and not a signal") {
  const TempDir folder;
  // What the parent may do was asked for before.
  File::open(storage::posix_file_system(), folder.file("large"), O_RDWR | O_CREAT, 0600, "open").truncate(200'000);
  Forked child{[&](auto report, auto) {
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto file = File::open(storage::posix_file_system(), folder.file("f"), O_RDWR | O_CREAT, 0600, "open");
    file.truncate(100'000);
    try {
      file.truncate(100'001);
      report("nothing was thrown");
    } catch (const MemoryError& error) {
      report(std::string{to_string(error.errc())} + " " + error.what());
    }
  }};
  const std::string line = child.line();
  INFO(line);
  CHECK(line.starts_with("limit_exceeded set size=100001"));
  CHECK(line.find("may have 100000 bytes (ulimit -f); raise that limit") != std::string::npos);
}

TEST_CASE("data is found between holes, some ranges at a time, and nothing is a hole where nobody can say") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto file = File::open(files, folder.file("f"), O_RDWR | O_CREAT, 0600, "open");
  constexpr std::uint64_t part = 64 << 10;
  file.truncate(100 * part);
  file.write(10 * part, filled(part, 1));
  file.write(50 * part, filled(2 * part, 1));
  std::uint64_t until = 0;
  CHECK(file.data_ranges(0, 100 * part, 10, until) == std::vector<ByteRange>{{10 * part, part}, {50 * part, 2 * part}});
  CHECK(until == 100 * part);
  CHECK(file.data_ranges(0, 100 * part, 1, until) == std::vector<ByteRange>{{10 * part, part}});
  CHECK(until == 11 * part);
  CHECK(file.data_ranges(10 * part + 5, 10 * part + 25, 10, until) == std::vector<ByteRange>{{10 * part + 5, 20}});
  CHECK(file.data_ranges(20 * part, 20 * part, 10, until).empty());
  CHECK(until == 20 * part);
  CHECK(file.data_ranges(20 * part, 15 * part, 10, until).empty());
  CHECK(file.next_data(0, 100 * part) == 10 * part);
  CHECK(file.next_data(10 * part + 5, 100 * part) == 10 * part + 5);
  CHECK(file.next_data(20 * part, 40 * part) == 40 * part);
  CHECK(file.next_data(60 * part, 100 * part) == 100 * part);
  // Also one that tells of data and not of holes.
  const Call unknown = GENERATE(Call::seek_data, Call::seek_hole);
  files.fail(unknown, EINVAL);
  const std::uint64_t from = unknown == Call::seek_data ? 7 : 10 * part;
  CHECK(file.data_ranges(7, 100 * part, 10, until) == std::vector<ByteRange>{{from, 100 * part - from}});
  CHECK(until == 100 * part);
}

}  // namespace pageserver::test
