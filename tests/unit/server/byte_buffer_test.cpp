#include <random>
#include <vector>
#include "tests/support/catch.hpp"

#include "server/connection/byte_buffer.hpp"

using pageserver::server::ByteBuffer;

TEST_CASE("a byte buffer holds what a vector would, whatever is added and taken") {
  std::mt19937 random(7);
  ByteBuffer buffer;
  std::vector<std::byte> model;
  for (int i = 0; i < 2000; ++i) {
    const std::size_t count = random() % 3000;
    switch (random() % 5) {
      case 0:
      case 1: {
        const std::span<std::byte> space = buffer.extend(count);
        REQUIRE(space.size() == count);
        for (std::byte& b : space) model.push_back(b = static_cast<std::byte>(random()));
        break;
      }
      case 2: {
        const std::size_t taken = std::min(count, model.size());
        buffer.consume(taken);
        model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(taken));
        break;
      }
      case 3: {
        const std::size_t dropped = std::min(count, model.size());
        buffer.shorten(dropped);
        model.resize(model.size() - dropped);
        break;
      }
      default: {
        const std::vector<std::byte> more(count, std::byte{9});
        buffer.append(more);
        model.insert(model.end(), more.begin(), more.end());
      }
    }
    REQUIRE(std::equal(buffer.bytes().begin(), buffer.bytes().end(), model.begin(), model.end()));
  }
}

TEST_CASE("a released buffer owns no memory") {
  ByteBuffer buffer;
  buffer.extend(100'000);
  buffer.release();
  CHECK(buffer.empty());
  CHECK(buffer.capacity() == 0);
}
