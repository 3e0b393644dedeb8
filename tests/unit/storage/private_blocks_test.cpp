#include "storage/engine/private_blocks.hpp"
#include <cerrno>
#include <vector>

#include "tests/support/errors.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using storage::PrivateBlocks;
constexpr std::uint64_t b = PrivateBlocks::block_bytes;

/// Blocks of which two fit into memory.
struct Spilling {
  Spilling() {
    options.spill_folder = storage::Folder::open(files, folder.path().string());
    options.spill_name = "spill";
    options.memory_bytes_max = 2 * b;
  }
  void write(std::uint64_t offset, const std::vector<std::byte>& data) {
    PrivateBlocks::Prepared prepared{blocks, offset, data};
    blocks.apply(prepared);
  }
  std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> bytes(length);
    blocks.read(offset, bytes);
    return bytes;
  }

  TempDir folder;
  FaultyFileSystem files;
  PrivateBlocks::Options options;
  const std::string remedy = "discard";
  PrivateBlocks blocks{options, remedy};
};

TEST_CASE("private blocks: beyond the bound of memory they are in a file, and read the same") {
  Spilling spilling;
  spilling.write(0, filled(2 * b, 1));
  CHECK_FALSE(spilling.blocks.spilled());
  spilling.write(2 * b, filled(2 * b, 2));
  CHECK(spilling.blocks.spilled());
  spilling.write(b + 10, filled(2 * b, 3));  // over both
  CHECK(spilling.blocks.count() == 4);
  auto expected = filled(4 * b, 1);
  std::fill(expected.begin() + 2 * b, expected.end(), std::byte{2});
  std::fill_n(expected.begin() + b + 10, 2 * b, std::byte{3});
  CHECK(spilling.read(0, 4 * b) == expected);
  spilling.blocks.clear();
  CHECK(spilling.blocks.count() == 0);
  CHECK(spilling.files.open_files() == 1);  // the folder
}

TEST_CASE("private blocks: what was prepared and not applied has no effect, and its places are used again") {
  Spilling spilling;
  spilling.write(0, filled(3 * b, 1));
  { const PrivateBlocks::Prepared dropped{spilling.blocks, b, filled(5 * b, 2)}; }
  CHECK(spilling.blocks.count() == 3);
  CHECK(spilling.read(0, 3 * b) == filled(3 * b, 1));
  // A file that failed in the middle: the same.
  spilling.files.fail(Call::write, EIO, 2, 1);
  CHECK_THROWS_AS(spilling.write(2 * b, filled(4 * b, 3)), MemoryError);
  spilling.files.heal(Call::write);
  CHECK(spilling.blocks.count() == 3);
  CHECK(spilling.read(0, 3 * b) == filled(3 * b, 1));
  spilling.write(2 * b, filled(3 * b, 4));
  CHECK(spilling.read(2 * b, 3 * b) == filled(3 * b, 4));
}

TEST_CASE("private blocks: a part of a new block leaves zeros around it") {
  Spilling spilling;
  for (const std::uint64_t block : {0u, 1u, 2u}) {  // the last is in the file
    spilling.write(block * b + 100, filled(10, 5));
    std::vector<std::byte> expected(b);
    std::fill_n(expected.begin() + 100, 10, std::byte{5});
    CHECK(spilling.read(block * b, b) == expected);
  }
}

TEST_CASE("private blocks: those that are dropped give memory and places back, few among many and many among few") {
  Spilling spilling;
  spilling.write(0, filled(6 * b, 1));
  const std::uint64_t end = GENERATE(std::uint64_t{3}, std::uint64_t{1000});
  CHECK(spilling.blocks.any(1, end));
  spilling.blocks.prepare_drop();
  spilling.blocks.drop(1, end);
  CHECK_FALSE(spilling.blocks.any(1, end));
  CHECK(spilling.blocks.contains(0));
  CHECK(spilling.blocks.count() == (end == 3 ? 4 : 1));
  CHECK(spilling.blocks.any(3, 4) == (end == 3));
  // One block of memory is free again.
  std::vector<std::span<const std::byte>> parts;
  spilling.write(b, filled(b, 2));
  CHECK(spilling.blocks.add_parts(0, 2 * b, 10, parts));
}

TEST_CASE("private blocks: parts are what lies in memory, and no more than may be") {
  Spilling spilling;
  spilling.write(0, filled(3 * b, 1));
  std::vector<std::span<const std::byte>> parts;
  CHECK(spilling.blocks.add_parts(10, b, 2, parts));
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].size() == b - 10);
  CHECK(parts[1].size() == 10);
  CHECK_FALSE(spilling.blocks.add_parts(0, 1, 2, parts));  // a third
  parts.clear();
  CHECK_FALSE(spilling.blocks.add_parts(2 * b, 1, 2, parts));  // in the file
}

}  // namespace
}  // namespace pageserver::test
