// How a call's bytes fall into pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <pageserver/memory_provider.hpp>

namespace pageserver::client {

/// The bytes of a call that lie within one page.
struct PagePart {
  std::uint64_t page = 0;
  std::size_t begin = 0;  // within the page
  std::size_t length = 0;

  std::size_t end() const { return begin + length; }
};

/// The first part of the `length` bytes from `offset`.
inline PagePart first_part(std::uint64_t offset, std::size_t length) {
  const auto begin = static_cast<std::size_t>(offset % page_size);
  return {offset / page_size, begin, std::min<std::size_t>(length, page_size - begin)};
}

}  // namespace pageserver::client
