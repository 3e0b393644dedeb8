#include <fcntl.h>

#include <filesystem>

#include "tests/support/catch.hpp"

#include "storage/file/mapped_file.hpp"
#include "tests/support/temp_dir.hpp"

using namespace pageserver;
using namespace pageserver::storage;

namespace {

File made(const test::TempDir& folder, std::uint64_t bytes) {
  File file = File::open(posix_file_system(), folder.file("image"), O_RDWR | O_CREAT, 0600, "create");
  file.truncate(bytes);
  return file;
}

std::vector<std::byte> mapped(const std::byte* from, std::size_t bytes) {
  std::vector<std::byte> read(bytes);
  REQUIRE(read_mapped(from, read));
  return read;
}

}  // namespace

TEST_CASE("a mapping shows what is written to the file, and goes on when the file grows") {
  enable_mapped_reads();
  const test::TempDir folder;
  const File file = made(folder, 65536);
  MappedFile map{file, 1ull << 30};
  const std::byte* const address = map.address(65536);
  REQUIRE(address != nullptr);
  const std::vector<std::byte> data(100, std::byte{7});
  file.write(1000, data);
  CHECK(mapped(address + 1000, 100) == data);
  file.truncate(3ull << 30);  // more than was mapped at first
  file.write(2ull << 30, data);
  const std::byte* const larger = map.address(3ull << 30);
  REQUIRE(larger != nullptr);
  CHECK(mapped(larger + (2ull << 30), 100) == data);
  CHECK(mapped(address + 1000, 100) == data);  // the first stays
}

TEST_CASE("bytes that the file lost are told, not fatal") {
  enable_mapped_reads();
  const test::TempDir folder;
  const File file = made(folder, 2 * 65536);
  MappedFile map{file, 1ull << 30};
  const std::byte* const address = map.address(2 * 65536);
  REQUIRE(address != nullptr);
  std::filesystem::resize_file(folder.file("image"), 65536);
  std::vector<std::byte> buffer(100);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(read_mapped(address + 65536, buffer));
  CHECK(read_mapped(address, buffer));
}
