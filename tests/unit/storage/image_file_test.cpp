#include <sys/stat.h>

#include <filesystem>

#include "storage/image/image_file.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using storage::ImageFile;
using storage::ImageFileOptions;

constexpr std::uint64_t no_limit = UINT64_MAX;

ImageFile open_image(storage::FileSystem& files, const std::string& path, ImageFileOptions options = {}) {
  return ImageFile::open(files, path, options);
}

ImageFile grown_image(storage::FileSystem& files, const std::string& path, std::uint64_t pages) {
  auto image = open_image(files, path);
  image.grow(pages, no_limit);
  return image;
}

std::vector<std::byte> read(const ImageFile& image, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> buffer(length);
  image.read(offset, buffer);
  return buffer;
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat found {};
  REQUIRE(::stat(path.c_str(), &found) == 0);
  return static_cast<std::uint64_t>(found.st_blocks) * 512;
}

}  // namespace

TEST_CASE("grow is sparse: it changes the size and stores nothing") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  const auto path = folder.file("db.img");
  auto image = grown_image(files, path, 16384);
  CHECK(std::filesystem::file_size(path) == 1u << 30);
  CHECK(allocated_bytes(path) <= 65536);
  image.write(512 * page_size, filled(page_size, 1));
  CHECK(allocated_bytes(path) <= 4 * page_size);
  CHECK(image.grow(1, no_limit) == 16384);
}

TEST_CASE("grow past what a file can hold names pages and changes nothing") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  auto image = grown_image(files, folder.file("db.img"), 1);
  check_error(thrown_by([&] { image.grow(std::uint64_t{1} << 48, no_limit); }), Errc::limit_exceeded,
              {"grow pages=1 new_pages=281474976710656"});
  check_error(thrown_by([&] { image.grow(4, 4 * page_size); }), Errc::limit_exceeded,
              {"grow pages=1 new_pages=4", "size_bytes_max=262144"});
  CHECK(image.grow(3, 4 * page_size) == 1);
  CHECK(image.pages() == 4);
  CHECK(std::filesystem::file_size(folder.file("db.img")) == 4 * page_size);
}

TEST_CASE("a failed grow changes nothing") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 1);
  struct Expected {
    int error;
    Errc code;
  };
  for (const auto& [error, code] : {Expected{ENOSPC, Errc::no_space}, Expected{EFBIG, Errc::limit_exceeded},
                                    Expected{EINVAL, Errc::limit_exceeded}, Expected{EIO, Errc::provider_error}}) {
    files.fail(Call::truncate, error);
    check_error(thrown_by([&] { image.grow(2, no_limit); }), code, {"grow pages=1 new_pages=2"});
    CHECK(image.pages() == 1);
  }
  files.heal(Call::truncate);
  CHECK(image.grow(2, no_limit) == 1);
}

TEST_CASE("a size that is no whole number of pages names file, size and remainder") {
  const TempDir folder;
  const auto path = folder.file("db.img");
  make_file(path, 70000);
  check_error(thrown_by([&] { open_image(storage::posix_file_system(), path); }), Errc::provider_error,
              {path, "size=70000", "no multiple of 65536", "remainder=4464"});
  CHECK(std::filesystem::file_size(path) == 70000);
}

TEST_CASE("what is no regular file is refused") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  ImageFileOptions reading;
  reading.read_only = true;
  for (const auto& options : {ImageFileOptions{}, reading}) {
    check_error(thrown_by([&] { open_image(files, folder.path().string(), options); }), Errc::provider_error,
                {"it is a folder"});
  }
  REQUIRE(::mkfifo(folder.file("fifo").c_str(), 0600) == 0);
  for (const auto& options : {ImageFileOptions{}, reading}) {
    check_error(thrown_by([&] { open_image(files, folder.file("fifo"), options); }), Errc::provider_error,
                {"not a regular file"});
  }
  check_error(thrown_by([&] { open_image(files, ""); }), Errc::invalid_argument, {"empty"});
}

TEST_CASE("opening without create, or for reading, never makes a file") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  ImageFileOptions options;
  options.create = false;
  check_error(thrown_by([&] { open_image(files, folder.file("db.img"), options); }), Errc::not_found, {"no such file"});
  options = {};
  options.read_only = true;
  check_error(thrown_by([&] { open_image(files, folder.file("db.img"), options); }), Errc::not_found, {"no such file"});
  CHECK(std::filesystem::is_empty(folder.path()));
  options = {};
  options.file_mode = 0600;
  open_image(files, folder.file("db.img"), options);
  CHECK((std::filesystem::status(folder.file("db.img")).permissions() & std::filesystem::perms::mask) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("an image that can't be made says why, and no file is there") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto path = folder.file("db.img");
  for (const auto& [error, code] : {std::pair{ENOSPC, Errc::no_space}, std::pair{EROFS, Errc::read_only}}) {
    files.fail(Call::open, error, 2);  // after the folder, the first one finds that it has to be made
    check_error(thrown_by([&] { open_image(files, path); }), code, {"create " + storage::quoted(path)});
    CHECK(std::filesystem::is_empty(folder.path()));
  }
  CHECK(files.open_files() == 0);
}

TEST_CASE("an image with a pending log is refused by name") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  const auto path = folder.file("db.img");
  grown_image(files, path, 1);
  make_file(folder.file("db.img.log.0000000002"), 10);
  make_file(folder.file("db.img.log.0000000001"), 10);
  make_file(folder.file("other.img.log.0000000001"), 10);
  ImageFileOptions reading;
  reading.read_only = true;
  for (const auto& options : {ImageFileOptions{}, reading}) {
    check_error(thrown_by([&] { open_image(files, path, options); }), Errc::provider_error,
                {"db.img.log.0000000001", "pending", "start the daemon", "pagectl recover " + path});
  }
  ImageFileOptions recovering;
  recovering.refuse_pending_log = false;
  CHECK(open_image(files, path, recovering).pages() == 1);
  std::filesystem::remove(folder.file("db.img.log.0000000001"));
  std::filesystem::remove(folder.file("db.img.log.0000000002"));
  CHECK(open_image(files, path).pages() == 1);
}

TEST_CASE("a log whose image is gone keeps a new image from being made") {
  const TempDir folder;
  make_file(folder.file("db.img.log.0000000001"), 10);
  check_error(thrown_by([&] { open_image(storage::posix_file_system(), folder.file("db.img")); }), Errc::damaged,
              {"the image is gone", "db.img.log.0000000001", "put the image back"});
  CHECK_FALSE(std::filesystem::exists(folder.file("db.img")));
}

TEST_CASE("a symbolic link leads to the image and to its log") {
  const TempDir folder, elsewhere;
  auto& files = storage::posix_file_system();
  grown_image(files, elsewhere.file("real.img"), 2);
  std::filesystem::create_symlink(elsewhere.file("real.img"), folder.file("db.img"));
  CHECK(open_image(files, folder.file("db.img")).pages() == 2);
  ImageFileOptions strict;
  strict.follow_symlinks = false;
  check_error(thrown_by([&] { open_image(files, folder.file("db.img"), strict); }), Errc::provider_error,
              {"symbolic link"});
  make_file(elsewhere.file("real.img.log.0000000001"), 10);
  check_error(thrown_by([&] { open_image(files, folder.file("db.img")); }), Errc::provider_error,
              {"real.img.log.0000000001"});
  std::filesystem::remove(elsewhere.file("real.img"));
  std::filesystem::remove(elsewhere.file("real.img.log.0000000001"));
  check_error(thrown_by([&] { open_image(files, folder.file("db.img")); }), Errc::busy, {"dangling symbolic link"});
  CHECK_FALSE(std::filesystem::exists(elsewhere.file("real.img")));
}

TEST_CASE("a file replaced between opening and locking is not the one that is used") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto path = folder.file("db.img");
  grown_image(files, path, 1);
  grown_image(files, folder.file("new.img"), 2);
  int replaced = 0;
  files.before(Call::lock, [&] {
    if (replaced++ == 0) std::filesystem::rename(folder.file("new.img"), path);
  });
  CHECK(open_image(files, path).pages() == 2);
  CHECK(replaced == 2);
}

TEST_CASE("a path that keeps being replaced is given up") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto path = folder.file("db.img");
  grown_image(files, path, 1);
  files.before(Call::lock, [&] {
    make_file(folder.file("next"), 0);
    std::filesystem::rename(folder.file("next"), path);
  });
  check_error(thrown_by([&] { open_image(files, path); }), Errc::busy, {"16 attempts"});
  CHECK(files.open_files() == 0);
}

TEST_CASE("a file truncated by someone else is an error for reads, writes and grows") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  const auto path = folder.file("db.img");
  auto image = grown_image(files, path, 4);
  image.write(0, filled(4 * page_size, 3));
  std::filesystem::resize_file(path, page_size);
  CHECK(read(image, 0, page_size) == filled(page_size, 3));
  check_error(thrown_by([&] { read(image, page_size - 10, 20); }), Errc::provider_error,
              {"read offset=65526 length=20", "ends at byte 65536", "should have size=262144"});
  check_error(thrown_by([&] { image.write(2 * page_size, filled(10, 1)); }), Errc::provider_error,
              {"write offset=131072 length=10", "size=65536", "someone else"});
  check_error(thrown_by([&] { image.grow(1, no_limit); }), Errc::provider_error, {"grow pages=4", "someone else"});
  check_error(thrown_by([&] { image.zero(0, 10); }), Errc::provider_error, {"someone else"});
  check_error(thrown_by([&] { image.check_size("flush"); }), Errc::provider_error, {"flush", "someone else"});
  CHECK(image.outside_change().find("someone else") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == page_size);
}

TEST_CASE("a file that was replaced or removed is noticed") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  const auto path = folder.file("db.img");
  const auto image = grown_image(files, path, 1);
  CHECK(image.outside_change().empty());
  std::filesystem::rename(path, folder.file("moved"));
  CHECK(image.outside_change().find("was renamed; its log stays") != std::string::npos);
  std::filesystem::remove(folder.file("moved"));
  CHECK(image.outside_change().find("was removed; its bytes go") != std::string::npos);
  make_file(path, 65536);
  CHECK(image.outside_change().find("names another file") != std::string::npos);
}

TEST_CASE("a full disk is found before the first byte changes") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 4);
  image.write(0, filled(10, 1));
  files.fail(Call::reserve, ENOSPC);
  check_error(thrown_by([&] { image.write(5, filled(page_size, 9)); }), Errc::no_space, {"reserve"});
  CHECK(read(image, 0, 10) == filled(10, 1));
  CHECK(read(image, 10, page_size) == filled(page_size, 0));
  files.heal(Call::reserve);
  image.write(5, filled(page_size, 9));
  const auto reserved = files.calls(Call::reserve);
  image.write(5, filled(page_size, 8));
  CHECK(files.calls(Call::reserve) == reserved);  // once for a page
}

TEST_CASE("a file system that can't reserve room is written to all the same") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 2);
  files.fail(Call::reserve, EOPNOTSUPP);
  image.write(0, filled(2 * page_size, 7));
  image.write(0, filled(2 * page_size, 8));
  CHECK(read(image, 0, 2 * page_size) == filled(2 * page_size, 8));
  CHECK(files.calls(Call::reserve) == 1);
}

TEST_CASE("a write that fails at once changes nothing and the image stays usable") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 2);
  files.fail(Call::write, EIO, 0, 1);
  check_error(thrown_by([&] { image.write(5, filled(100, 1)); }), Errc::provider_error,
              {"write offset=5 length=100 to", "EIO"});
  CHECK(read(image, 0, 200) == filled(200, 0));
  image.write(5, filled(100, 1));
  CHECK(read(image, 5, 100) == filled(100, 1));
}

TEST_CASE("half a write is never shown: the image refuses further use") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 2);
  files.transfer_at_most(4096);
  files.fail(Call::write, EIO, 1, 1);
  check_error(thrown_by([&] { image.write(0, filled(10000, 1)); }), Errc::provider_error,
              {"write offset=0 length=10000 to", "EIO", "open it again"});
  check_error(thrown_by([&] { read(image, page_size, 1); }), Errc::provider_error, {"length=10000", "open it again"});
  check_error(thrown_by([&] { image.write(0, filled(1, 1)); }), Errc::provider_error, {"length=10000"});
  check_error(thrown_by([&] { image.grow(1, no_limit); }), Errc::provider_error, {"length=10000"});
  check_error(thrown_by([&] { image.zero(0, 1); }), Errc::provider_error, {"length=10000"});
}

TEST_CASE("zeroing makes a hole") {
  const TempDir folder;
  auto& files = storage::posix_file_system();
  const auto path = folder.file("db.img");
  auto image = grown_image(files, path, 64);
  image.write(0, filled(64 * page_size, 5));
  const auto before = allocated_bytes(path);
  image.zero(page_size + 100, 60 * page_size);
  CHECK(allocated_bytes(path) < before / 4);
  CHECK(read(image, page_size, 100) == filled(100, 5));
  CHECK(read(image, page_size + 100, 60 * page_size) == filled(60 * page_size, 0));
  CHECK(read(image, 61 * page_size + 100, 100) == filled(100, 5));
  image.write(2 * page_size, filled(2 * page_size, 6));
  CHECK(read(image, 2 * page_size, 2 * page_size) == filled(2 * page_size, 6));
  check_error(thrown_by([&] { image.zero(64 * page_size, 1); }), Errc::out_of_bounds, {"zero offset=4194304 length=1"});
  image.zero(64 * page_size, 0);
}

TEST_CASE("zeroing where there are no holes writes zeros") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 4);
  image.write(0, filled(4 * page_size, 5));
  files.fail(Call::punch_hole, EOPNOTSUPP);
  image.zero(10, 2 * page_size + 5);
  CHECK(read(image, 0, 10) == filled(10, 5));
  CHECK(read(image, 10, 2 * page_size + 5) == filled(2 * page_size + 5, 0));
  CHECK(read(image, 2 * page_size + 15, 10) == filled(10, 5));
  files.fail(Call::write, EIO, 0, 1);
  CHECK_THROWS_AS(image.zero(10, 10), MemoryError);
  CHECK(read(image, 0, 10) == filled(10, 5));  // failed at once: nothing torn
  files.fail(Call::write, EIO, 1, 1);
  CHECK_THROWS_AS(image.zero(0, 3 * page_size), MemoryError);
  check_error(thrown_by([&] { read(image, 0, 1); }), Errc::provider_error, {"zero offset=0", "open it again"});
}

TEST_CASE("data ranges are found by the holes of the file") {
  const TempDir folder;
  FaultyFileSystem files;
  auto image = grown_image(files, folder.file("db.img"), 100);
  std::uint64_t until = 0;
  CHECK(image.data_ranges(0, image.size(), 10, until).empty());
  CHECK(until == image.size());
  image.write(10 * page_size, filled(page_size, 1));
  image.write(50 * page_size, filled(2 * page_size, 1));
  const std::vector<ByteRange> expected{{10 * page_size, page_size}, {50 * page_size, 2 * page_size}};
  CHECK(image.data_ranges(0, image.size(), 10, until) == expected);
  CHECK(until == image.size());
  CHECK(image.data_ranges(0, image.size(), 1, until) == std::vector<ByteRange>{expected[0]});
  CHECK(until == 11 * page_size);
  CHECK(image.data_ranges(until, image.size() - until, 1, until) == std::vector<ByteRange>{expected[1]});
  CHECK(image.data_ranges(10 * page_size + 5, 20, 10, until) == std::vector<ByteRange>{{10 * page_size + 5, 20}});
  CHECK(image.data_ranges(image.size(), 0, 10, until).empty());
  CHECK(image.data_ranges(20 * page_size, page_size, 10, until).empty());
  CHECK(until == 21 * page_size);
  check_error(thrown_by([&] { image.data_ranges(1, image.size(), 1, until); }), Errc::out_of_bounds, {"data_ranges"});
  files.fail(Call::seek_data, EINVAL);
  CHECK(image.data_ranges(7, 1000, 10, until) == std::vector<ByteRange>{{7, 1000}});
}

TEST_CASE("a sync covers the file, and the first one of an opening its directory entry") {
  const TempDir folder;
  FaultyFileSystem files;
  {
    auto image = grown_image(files, folder.file("db.img"), 1);
    CHECK_FALSE(image.entry_durable());
    image.sync();
    CHECK(image.entry_durable());
    CHECK(files.calls(Call::sync_data) == 1);
    CHECK(files.calls(Call::sync) == 1);
    image.sync();
    CHECK(files.calls(Call::sync_data) == 2);
    CHECK(files.calls(Call::sync) == 1);
  }
  // Whoever made it may have been killed before a first sync.
  auto image = open_image(files, folder.file("db.img"));
  CHECK_FALSE(image.entry_durable());
  image.sync();
  image.sync();
  CHECK(files.calls(Call::sync_data) == 4);
  CHECK(files.calls(Call::sync) == 2);
}

TEST_CASE("a failed sync is never followed by a success") {
  for (const auto call : {Call::sync_data, Call::sync}) {
    const TempDir folder;
    FaultyFileSystem files;
    auto image = grown_image(files, folder.file("db.img"), 1);
    files.fail(call, EIO, 0, 1);
    const auto error = thrown_by([&] { image.sync(); });
    check_error(error, Errc::provider_error, {"sync", "EIO", "open it again"});
    CHECK(std::string{thrown_by([&] { image.sync(); }).what()} == error.what());
    image.write(0, filled(10, 1));
    CHECK(read(image, 0, 10) == filled(10, 1));
  }
}

TEST_CASE("errors on the way to an open image leave no file open") {
  const TempDir folder;
  FaultyFileSystem files;
  const auto path = folder.file("db.img");
  grown_image(files, path, 1);
  struct Expected {
    Call call;
    int error;
    Errc code;
  };
  for (const auto& [call, error, code] :
       {Expected{Call::open, EACCES, Errc::permission_denied}, Expected{Call::open, EROFS, Errc::read_only},
        Expected{Call::status, EIO, Errc::provider_error}, Expected{Call::lock, ENOLCK, Errc::provider_error},
        Expected{Call::list, EIO, Errc::provider_error}}) {
    files.fail(call, error);
    check_error(thrown_by([&] { open_image(files, path); }), code, {});
    files.heal(call);
    CHECK(files.open_files() == 0);
  }
  files.fail(Call::list, EACCES);  // a folder that may be entered and not listed
  CHECK(open_image(files, path).pages() == 1);
}

}  // namespace pageserver::test
