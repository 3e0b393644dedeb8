// What the writers that are killed write: numbered pieces all over an image, in which any mixture shows.
#pragma once

#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>
#include "tests/support/catch.hpp"

namespace pageserver::test {

inline constexpr std::uint64_t image_pages = 16;

/// Where one transaction writes its number: pieces of several sizes all over the image, some across a page's end.
inline constexpr std::array<ByteRange, 7> pieces{{{8, 8},
                                                  {page_size - 100, 200},
                                                  {3 * page_size, 4096},
                                                  {5 * page_size + 17, 40'000},
                                                  {8 * page_size - 3, 10},
                                                  {9 * page_size, 2 * page_size},
                                                  {15 * page_size + 65'000, 536}}};

/// `length` bytes that say `number` and their own place, so that any mixture shows.
inline std::vector<std::byte> pattern(std::uint64_t number, ByteRange piece) {
  std::vector<std::byte> bytes(piece.length);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>((number >> (8 * ((piece.offset + i) % 8))) & 0xff);
  return bytes;
}

/// The number that a piece holds; fails the test when it holds a mixture.
inline std::uint64_t number_in(MemoryProvider& image, ByteRange piece) {
  std::vector<std::byte> bytes(piece.length);
  image.read(piece.offset, bytes);
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i)
    number |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * ((piece.offset + i) % 8));
  INFO("piece at offset=" << piece.offset << " length=" << piece.length);
  REQUIRE(bytes == pattern(number, piece));
  return number;
}

}  // namespace pageserver::test
