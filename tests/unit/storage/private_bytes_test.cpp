// The overlay of private bytes against a plain array, in memory and spilled.
#include "storage/engine/private_bytes.hpp"

#include <fcntl.h>
#include <sys/resource.h>

#include <optional>
#include <random>
#include <span>
#include <vector>

#include "base/unique_fd.hpp"
#include "storage/file/open_files.hpp"
#include "tests/support/errors.hpp"
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
  options.spill_folder = storage::Folder::open(files, folder.path().string());
  options.spill_name = "spill";
  options.memory_bytes_max = memory;
  options.spare_bytes_max = GENERATE(0u, 40000u);
  options.total_bytes = &total;
  constexpr std::size_t size = 300000;
  // The image below, or none: then blocks are never filled.
  const bool has_base = GENERATE(false, true);
  std::vector<std::byte> below(size + 4096);
  if (has_base) {
    for (std::byte& byte : below) byte = static_cast<std::byte>(random());
    options.base = [&](std::uint64_t offset, std::span<std::byte> buffer) {
      if (random() % 10 == 0) throw MemoryError{Errc::provider_error, "the base can't be read"};
      std::copy_n(below.begin() + static_cast<std::ptrdiff_t>(offset), buffer.size(), buffer.begin());
    };
  }
  PrivateBytes bytes{options};
  std::vector<std::byte> model{below.begin(), below.begin() + size};
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
      std::vector<std::byte> read{below.begin(), below.begin() + size};
      bytes.read_over(0, read);
      REQUIRE(read == model);
    }
    if (step == 200) {
      // What it keeps of the memory shows nothing of what was there.
      bytes.clear();
      std::copy_n(below.begin(), size, model.begin());
      changed.assign(size, false);
    }
    const std::size_t from = random() % size;
    const std::size_t part = std::min<std::size_t>(random() % 5000, size - from);
    const auto start = below.begin() + static_cast<std::ptrdiff_t>(from);
    std::vector<std::byte> read{start, start + static_cast<std::ptrdiff_t>(part)};
    bytes.read_over(from, read);
    REQUIRE(std::equal(read.begin(), read.end(), model.begin() + static_cast<std::ptrdiff_t>(from)));
    const auto first = changed.begin() + static_cast<std::ptrdiff_t>(from);
    // Filled blocks are covered beyond what was changed.
    const bool all = std::all_of(first, first + static_cast<std::ptrdiff_t>(part), [](bool b) { return b; });
    REQUIRE((has_base ? bytes.covers(from, part) >= all : bytes.covers(from, part) == all));
    REQUIRE(total == bytes.bytes());
  }
  std::uint64_t end = 0;
  std::size_t covered = 0;
  for (const LogRange& range : bytes.ranges()) {
    REQUIRE(range.offset >= end);
    end = range.offset + range.length;
    covered += range.length;
  }
  const auto changed_bytes = static_cast<std::size_t>(std::count(changed.begin(), changed.end(), true));
  CHECK((has_base ? covered >= changed_bytes : covered == changed_bytes));
  CHECK(bytes.spilled() == (memory != std::uint64_t{1} << 30));
  bytes.clear();
  CHECK(bytes.empty());
  CHECK(total == 0);
  CHECK(files.open_files() == 1);  // the folder
}

TEST_CASE("private bytes: where all together have no memory left they go to the file, and then are refused") {
  TempDir folder;
  FaultyFileSystem files;
  constexpr std::uint64_t block = PrivateBytes::block_bytes;
  base::MemoryShare share{8 * block, "limits.memory_bytes=131072"};
  PrivateBytes::Options options;
  options.spill_folder = storage::Folder::open(files, folder.path().string());
  options.spill_name = "spill";
  options.memory_bytes_max = 1 << 30;
  options.memory_share = &share;
  options.remedy = "discard";
  PrivateBytes first{options};
  first.write(0, filled(4 * block, 1));
  CHECK_FALSE(first.spilled());
  CHECK(share.used() > 4 * block);
  {
    PrivateBytes second{options};
    second.write(0, filled(4 * block, 2));
    CHECK(second.spilled());
    std::vector<std::byte> read(4 * block);
    second.read_over(0, read);
    CHECK(read == filled(4 * block, 2));
    std::uint64_t blocks = 4;
    std::optional<MemoryError> refused;
    for (; !refused && blocks < 10'000; blocks += 2) {
      try {
        second.write(2 * blocks * block, filled(block, 3));
      } catch (const MemoryError& error) {
        refused = error;
      }
    }
    REQUIRE(refused);
    check_error(*refused, Errc::limit_exceeded,
                {"of 32768 bytes that limits.memory_bytes=131072 leaves them", "discard"});
    second.write(0, filled(4 * block, 4));  // takes no more
    second.read_over(0, read);
    CHECK(read == filled(4 * block, 4));
    check_error(thrown_by([&] { second.zero(1ull << 40, block); }), Errc::limit_exceeded, {"limits.memory_bytes"});
    second.clear();
    second.write(0, filled(block, 5));
  }
  CHECK(share.used() > 4 * block);
  first.clear();
  CHECK(share.used() == 0);
}

TEST_CASE("private bytes: adjoining ranges of one kind are one") {
  FaultyFileSystem files;
  PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  PrivateBytes bytes{options};
  constexpr std::uint64_t b = PrivateBytes::block_bytes;
  bytes.write(b, filled(b, 1));
  bytes.write(2 * b, filled(b, 2));
  bytes.zero(3 * b, b + 5);
  bytes.zero(0, b);
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, b, true}, {b, 2 * b, false}, {3 * b, b + 5, true}});
  CHECK(bytes.bytes() == 4 * b);
  bytes.write(0, filled(4 * b + 5, 3));
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, 4 * b + 5, false}});
  bytes.zero(b, b);
  CHECK(bytes.ranges() == std::vector<LogRange>{{0, b, false}, {b, b, true}, {2 * b, 2 * b + 5, false}});
  CHECK(bytes.ranges(b + 2, b) == std::vector<LogRange>{{b, b, true}, {2 * b, 2 * b + 5, false}});
  bytes.zero(10, 5);  // less than a block: bytes
  CHECK(bytes.ranges(0, 100) == std::vector<LogRange>{{0, b, false}});
  bytes.zero(b + 10, 5);  // zeros already
  CHECK(bytes.range_count() == 3);
}

TEST_CASE("private bytes: a million changes of one byte take a bounded number of ranges") {
  FaultyFileSystem files;
  std::uint64_t base_reads = 0;
  PrivateBytes::Options options;
  options.memory_bytes_max = 8 << 20;
  options.base = [&](std::uint64_t offset, std::span<std::byte> buffer) {
    ++base_reads;
    std::fill(buffer.begin(), buffer.end(), static_cast<std::byte>(offset / PrivateBytes::block_bytes % 100));
  };
  const std::uint64_t stride = GENERATE(2u, 100u);  // many in a block, and few in each of many blocks
  const bool zeros = GENERATE(false, true);
  constexpr std::uint64_t changes = 1'000'000;
  TempDir folder;
  options.spill_folder = storage::Folder::open(files, folder.path().string());
  options.spill_name = "spill";
  PrivateBytes overlay{options};
  for (std::uint64_t i = 0; i < changes; ++i)
    zeros ? overlay.zero(i * stride, 1) : overlay.write(i * stride, filled(1, 200));
  const std::uint64_t blocks = (changes * stride + PrivateBytes::block_bytes - 1) / PrivateBytes::block_bytes;
  CHECK(overlay.bytes() == blocks * PrivateBytes::block_bytes);
  CHECK(overlay.range_count() * PrivateBytes::range_memory_bytes <=
        options.memory_bytes_max + blocks * PrivateBytes::range_memory_bytes + 4096);
  CHECK(base_reads <= blocks);
  for (const std::uint64_t i : {std::uint64_t{0}, changes / 2, changes - 1}) {
    std::vector<std::byte> read(2);
    options.base(i * stride, read);
    const std::byte below = read[1];
    overlay.read_over(i * stride, read);
    CHECK(read[0] == static_cast<std::byte>(zeros ? 0 : 200));
    CHECK(read[1] == below);
  }
}

TEST_CASE("private bytes: a run of zeros counts as a block, and zeros over bytes give room back at the bound") {
  std::atomic<std::uint64_t> total{0};
  constexpr std::uint64_t b = PrivateBytes::block_bytes;
  PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  options.bytes_max = 8 * b;
  options.bytes_max_name = "the_bound";
  options.total_bytes = &total;
  PrivateBytes bytes{options};
  for (std::uint64_t run = 0; run < 8; ++run) bytes.zero(run * 20'000, 10'000);
  CHECK(total == 8 * b);
  check_error(thrown_by([&] { bytes.zero(8 * 20'000, 10'000); }), Errc::limit_exceeded,
              {"zero of 4096 further private bytes to 32768 exceeds the_bound=32768", "discard"});
  CHECK(bytes.range_count() == 8);
  // A write in the middle of a run makes two of it, and has a block of its own.
  bytes.zero(5'000, 20'000);  // joins two: less than before
  CHECK(total == 7 * b);
  check_error(thrown_by([&] { bytes.write(4 * 20'000 + b, filled(1, 1)); }), Errc::limit_exceeded, {"the_bound=32768"});
  CHECK(total == 7 * b);
  CHECK(bytes.range_count() == 7);
  bytes.clear();
  bytes.write(0, filled(8 * b, 1));
  check_error(thrown_by([&] { bytes.zero(9 * b, b); }), Errc::limit_exceeded, {"the_bound=32768"});
  bytes.zero(0, b);
  CHECK(total == 8 * b);
  bytes.zero(0, 8 * b);
  CHECK(total == b);
}

TEST_CASE("private bytes: a change past the bound of ranges is refused, and changes nothing") {
  constexpr std::uint64_t b = PrivateBytes::block_bytes;
  PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  options.ranges_max = 4;
  options.ranges_max_name = "the_ranges";
  options.remedy = "flush";
  PrivateBytes bytes{options};
  bytes.write(b, filled(b, 1));
  bytes.zero(3 * b, 3 * b);
  bytes.write(8 * b, filled(b, 2));
  const auto three = bytes.ranges();
  const std::uint64_t charged = bytes.bytes();
  // One in the middle of another is two more.
  check_error(thrown_by([&] { bytes.write(4 * b, filled(b, 3)); }), Errc::limit_exceeded,
              {"write offset=16384 length=4096", "3 private ranges", "the_ranges=4", "flush, or raise"});
  CHECK(bytes.ranges() == three);
  bytes.zero(10 * b, b);
  const auto four = bytes.ranges();
  for (const std::uint64_t apart : {13 * b, 20 * b})
    check_error(thrown_by([&] { bytes.zero(apart, b); }), Errc::limit_exceeded, {"zero offset=", "the_ranges=4"});
  check_error(thrown_by([&] { bytes.write(0, filled(10, 1)); }), Errc::limit_exceeded, {"the_ranges=4"});
  CHECK(bytes.ranges() == four);
  CHECK(bytes.bytes() == charged + b);
  std::vector<std::byte> read(14 * b, std::byte{9});
  bytes.read_over(0, read);
  CHECK(read[0] == std::byte{9});
  CHECK(read[4 * b] == std::byte{0});
  CHECK(read[13 * b] == std::byte{9});
  // What makes no further range goes on.
  bytes.write(9 * b, filled(b, 4));  // joins the one before
  bytes.zero(11 * b, b);             // joins the one before
  bytes.write(2 * b, filled(b, 5));  // joins the one before
  bytes.write(3 * b, filled(b, 5));  // the begin of a run of zeros
  CHECK(bytes.range_count() == 4);
  bytes.write(b, filled(9 * b, 6));
  CHECK(bytes.range_count() == 2);
  bytes.clear();
  bytes.zero(20 * b, b);
  CHECK(bytes.range_count() == 1);
}

TEST_CASE("private bytes: random changes never pass a bound of ranges, and only those that would are refused") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  std::mt19937 random{seed};
  PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  PrivateBytes unbounded{options};
  options.ranges_max = 6;
  PrivateBytes bounded{options};
  int refused = 0;
  for (int step = 0; step < 5'000; ++step) {
    constexpr std::uint64_t b = PrivateBytes::block_bytes;
    const std::uint64_t offset = random() % 24 * b;
    const std::uint64_t length = (1 + random() % 3) * b;
    const bool zero = random() % 2 == 0;
    const auto change = [&](PrivateBytes& bytes) {
      zero ? bytes.zero(offset, length) : bytes.write(offset, filled(length, 1));
    };
    if (bounded.ranges() != unbounded.ranges() || random() % 100 == 0) {
      bounded.clear();
      unbounded.clear();
    }
    change(unbounded);
    try {
      change(bounded);
      REQUIRE(bounded.ranges() == unbounded.ranges());
      REQUIRE(bounded.range_count() <= 6);
    } catch (const MemoryError& error) {
      REQUIRE(error.errc() == Errc::limit_exceeded);
      REQUIRE(unbounded.range_count() > 6);
      ++refused;
    }
  }
  CHECK(refused > 10);
}

TEST_CASE("private bytes: a file that would take the descriptors of others is refused by name, and nothing changes") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 128;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  ::close_range(128, ~0u, 0);  // what a test runner left open, which the limit does not reach
  {
    TempDir folder;
    PrivateBytes::Options options;
    options.spill_folder = storage::Folder::open(storage::posix_file_system(), folder.path().string());
    options.spill_name = "spill";
    options.memory_bytes_max = PrivateBytes::block_bytes;
    options.descriptors_kept = 1000;  // more than a quarter of the limit: 32
    PrivateBytes bytes{options};
    const std::vector<std::byte> data(3 * PrivateBytes::block_bytes, std::byte{7});
    std::vector<UniqueFd> others;
    while (storage::open_files_now() < 96) others.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    check_error(thrown_by([&] { bytes.write(0, data); }), Errc::limit_exceeded,
                {"limits.private_memory_bytes=4096", "of the 128 descriptors",
                 "(ulimit -n) 96 are open and 32 are kept", "discard"});
    // With none left at all the count can't be had either.
    const std::size_t enough = others.size();
    for (int last = 0; last >= 0;) {
      last = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      if (last >= 0) others.emplace_back(last);
    }
    check_error(thrown_by([&] { bytes.write(0, data); }), Errc::limit_exceeded,
                {"limits.private_memory_bytes=4096", "of the 128 descriptors", "(ulimit -n) 128 are open", "discard"});
    others.resize(enough);
    CHECK(bytes.empty());
    CHECK(bytes.bytes() == 0);
    bytes.write(0, std::span{data}.first(PrivateBytes::block_bytes));
    others.pop_back();
    bytes.write(0, data);
    CHECK(bytes.spilled());
    // It has its file, whatever comes now.
    while (storage::open_files_now() < 120) others.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    bytes.write(2 * PrivateBytes::block_bytes, data);
    std::vector<std::byte> read(data.size());
    bytes.read_over(0, read);
    CHECK(read == data);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace pageserver::test
