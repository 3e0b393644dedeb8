// The one check of a byte range against an image's size, and its one wording.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <pageserver/error.hpp>

namespace pageserver::base {

/// True when `[offset, offset + length)` lies within `size`, without ever computing a sum that could wrap.
constexpr bool in_bounds(std::uint64_t offset, std::uint64_t length, std::uint64_t size) noexcept {
  return length <= size && offset <= size - length;
}

/// Throws out_of_bounds, such as `read offset=70000 length=9 exceeds size=65536`.
inline void check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length, std::uint64_t size) {
  if (in_bounds(offset, length, size)) return;
  throw MemoryError{Errc::out_of_bounds, std::string{action} + " offset=" + std::to_string(offset) + " length=" +
                                             std::to_string(length) + " exceeds size=" + std::to_string(size)};
}

}  // namespace pageserver::base
