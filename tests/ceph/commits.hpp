// Commits that are whole or not there: each of some places has the commit's number, and so has a page of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "tests/support/catch.hpp"

namespace pageserver::test {

inline constexpr std::uint64_t commit_places = 8;

/// Into an image of at least 32 pages.
inline void commit(MemoryProvider& memory, std::uint64_t number) {
  std::vector<std::byte> bytes(4096);
  std::memcpy(bytes.data(), &number, sizeof number);
  for (std::uint64_t place = 0; place < commit_places; ++place)
    memory.write(place * 3 * page_size + number % 13 * 4096, bytes);
  memory.write(commit_places * 3 * page_size, std::span{bytes}.first(8));
  memory.flush();
}

/// The number of the last commit, 0 without one. False: it is not whole.
inline bool read_commit(MemoryProvider& memory, std::uint64_t& number) {
  memory.read(commit_places * 3 * page_size, std::as_writable_bytes(std::span{&number, 1}));
  bool whole = true;
  for (std::uint64_t place = 0; place < commit_places && number != 0; ++place) {
    std::uint64_t here = 0;
    memory.read(place * 3 * page_size + number % 13 * 4096, std::as_writable_bytes(std::span{&here, 1}));
    whole = whole && here == number;
  }
  return whole;
}

/// The same; fails where it is not whole.
inline std::uint64_t last_commit(MemoryProvider& memory) {
  std::uint64_t number = 0;
  const bool whole = read_commit(memory, number);  // which may throw
  CHECK(whole);
  return number;
}

}  // namespace pageserver::test
