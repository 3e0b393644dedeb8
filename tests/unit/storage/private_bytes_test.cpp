// The overlay of private bytes against a plain array, in memory and spilled.
#include "storage/private_bytes.hpp"

#include <random>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/faulty_file_system.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {

using storage::LogRange;
using storage::PrivateBytes;

TEST_CASE("private bytes: random writes and zeros read back as from an array, whatever fails in between") {
  const std::uint64_t memory = GENERATE(std::uint64_t{0}, std::uint64_t{40000}, std::uint64_t{1} << 30);
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed << " memory " << memory);
  std::mt19937 random{seed};
  TempDir folder;
  FaultyFileSystem files;
  std::atomic<std::uint64_t> total{0};
  PrivateBytes::Options options;
  options.spill_path = folder.file("spill");
  options.memory_bytes_max = memory;
  options.total_bytes = &total;
  PrivateBytes bytes{files, options};
  constexpr std::size_t size = 300000;
  std::vector<std::byte> model(size);
  std::vector<bool> changed(size);
  for (int step = 0; step < 400; ++step) {
    const std::size_t offset = random() % size;
    const std::size_t length = std::min<std::size_t>(1 + random() % (random() % 4 == 0 ? 60000 : 200), size - offset);
    if (random() % 10 == 0) files.fail(Call::write, EIO, static_cast<int>(random() % 4), 1);
    try {
      if (random() % 4 == 0) {
        bytes.zero(offset, length);
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
      } else {
        std::vector<std::byte> data(length);
        for (std::byte& byte : data) byte = static_cast<std::byte>(random());
        bytes.write(offset, data);
        std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
      }
      std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(offset), length, true);
    } catch (const MemoryError& error) {
      CHECK(error.errc() == Errc::provider_error);
    }
    files.heal(Call::write);
    if (step % 20 == 0) {
      std::vector<std::byte> read = filled(size, 0);
      bytes.read_over(0, read);
      REQUIRE(read == model);
    }
    const std::size_t from = random() % size;
    const std::size_t part = std::min<std::size_t>(random() % 5000, size - from);
    std::vector<std::byte> read = filled(part, 0);
    bytes.read_over(from, read);
    REQUIRE(std::equal(read.begin(), read.end(), model.begin() + static_cast<std::ptrdiff_t>(from)));
    const auto first = changed.begin() + static_cast<std::ptrdiff_t>(from);
    REQUIRE(bytes.covers(from, part) ==
            std::all_of(first, first + static_cast<std::ptrdiff_t>(part), [](bool b) { return b; }));
    REQUIRE(total == bytes.bytes());
  }
  std::uint64_t end = 0;
  std::size_t covered = 0;
  for (const LogRange& range : bytes.ranges()) {
    REQUIRE(range.offset >= end);
    end = range.offset + range.length;
    covered += range.length;
  }
  CHECK(covered == static_cast<std::size_t>(std::count(changed.begin(), changed.end(), true)));
  CHECK(bytes.spilled() == (memory != std::uint64_t{1} << 30));
  bytes.clear();
  CHECK(bytes.empty());
  CHECK(total == 0);
  CHECK(files.open_files() == 0);
}

TEST_CASE("private bytes: adjoining ranges of one kind are one") {
  FaultyFileSystem files;
  PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  PrivateBytes bytes{files, options};
  bytes.write(10, filled(10, 1));
  bytes.write(20, filled(10, 2));
  bytes.zero(30, 5);
  bytes.zero(0, 10);
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, 10, true}, {10, 20, false}, {30, 5, true}});
  bytes.write(0, filled(35, 3));
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, 35, false}});
  bytes.zero(10, 5);
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, 10, false}, {10, 5, true}, {15, 20, false}});
  CHECK(bytes.ranges(12, 4) == std::vector<LogRange>{{10, 5, true}, {15, 20, false}});
}

}  // namespace pageserver::test
