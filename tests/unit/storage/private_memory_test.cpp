// What private bytes allocate: next to nothing once there are some.
#include <algorithm>
#include <span>
#include <stdexcept>
#include <vector>

#include "storage/engine/private_bytes.hpp"
#include "tests/unit/storage/memory_world.hpp"

namespace pageserver::test {

TEST_CASE("the memory of one transaction's blocks serves the next") {
  constexpr std::size_t block = storage::PrivateBytes::block_bytes;
  constexpr std::uint64_t pages = 16;
  MemoryWorld world{std::vector<Step>{}};
  world.writer.reset();
  world.options.inline_commit_bytes = GENERATE(std::uint64_t{1} << 20, std::uint64_t{1} << 19);  // here, or on the lane
  world.reopen();
  const auto writer = world.open_writer(Publish::on_flush);
  const auto transaction = [&](int value, bool flushes) {
    for (std::uint64_t at = 0; at < pages; ++at) writer->write(at * page, filled(page, value));
    flushes ? world.flush(*writer) : static_cast<void>(writer->discard());
  };
  transaction(1, true);
  for (const bool flushes : {true, false, true}) {
    const CountedAllocations blocks(block);
    transaction(2, flushes);
    const std::uint64_t count = blocks.count();
    CHECK(count < pages);  // of pages * page / block, which is 256
  }
}

TEST_CASE("private bytes that are changed where they are, or read, take no memory") {
  constexpr std::uint64_t block = storage::PrivateBytes::block_bytes;
  storage::PrivateBytes::Options options;
  options.memory_bytes_max = 1 << 20;
  if (GENERATE(false, true)) {
    options.base = [](std::uint64_t, std::span<std::byte> buffer) {
      std::fill(buffer.begin(), buffer.end(), std::byte{7});
    };
    options.ranges_max = GENERATE(std::uint64_t{8}, ~std::uint64_t{0});  // crowded, or not
  }
  storage::PrivateBytes bytes{options};
  for (std::uint64_t run = 0; run < 5; ++run) bytes.write(run * 10 * block, filled(6 * block, 1));
  bytes.zero(60 * block, 4 * block);
  const auto charged = bytes.bytes();
  const auto ranges = bytes.ranges();
  const auto data = filled(5 * block, 2);
  std::vector<std::byte> read(70 * block);
  std::uint64_t count = 0;
  {
    const CountedAllocations all;
    for (const std::uint64_t length : {std::uint64_t{1}, std::uint64_t{100}, block, 4 * block + 5})
      for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{5}, 20 * block - 0, 41 * block + 9})
        bytes.write(offset, std::span{data}.first(length));
    bytes.zero(41 * block, 10);
    bytes.zero(61 * block, block);
    bytes.read_over(0, read);
    if (!bytes.covers(block, 2 * block) || bytes.covers(block, 8 * block)) throw std::logic_error{"covers"};
    count = all.count();
  }
  CHECK(count == 0);
  CHECK(bytes.bytes() == charged);
  CHECK(bytes.ranges() == ranges);
  CHECK(read[4 * block + 4] == std::byte{2});
  CHECK(read[42 * block] == std::byte{2});
  CHECK(read[41 * block] == std::byte{0});
  CHECK(read[5 * block] == std::byte{1});
}

TEST_CASE("a private write over what is private already takes no memory, in a transaction and in a fork") {
  MemoryWorld world{std::vector<Step>{}};
  world.writer.reset();
  const bool forks = GENERATE(false, true);
  const auto session = forks ? world.open(session_request(Access::fork, "fork")) : world.open_writer(Publish::on_flush);
  session->write(100, filled(3 * page, 1));
  const auto data = filled(2 * page, 2);
  const CountedAllocations all;
  session->write(100, std::span{data}.first(8));
  session->write(page, data);
  const std::uint64_t count = all.count();
  CHECK(count == 0);
}

}  // namespace pageserver::test
