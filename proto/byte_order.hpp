// Little-endian numbers of fixed width, at any alignment.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace pageserver::proto {

/// Reads `sizeof(Number)` bytes at `from`.
template <std::unsigned_integral Number>
[[nodiscard]] inline Number load(const std::byte* from) noexcept {
  Number value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, from, sizeof value);
  } else {
    for (std::size_t i = sizeof value; i-- > 0;) {
      value = static_cast<Number>((value << 8) | std::to_integer<Number>(from[i]));
    }
  }
  return value;
}

/// Writes `sizeof(Number)` bytes at `to`.
template <std::unsigned_integral Number>
inline void store(std::byte* to, Number value) noexcept {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(to, &value, sizeof value);
  } else {
    for (std::size_t i = 0; i < sizeof value; ++i) to[i] = static_cast<std::byte>(value >> (8 * i));
  }
}

}  // namespace pageserver::proto
