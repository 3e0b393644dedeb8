// Numbers as NBD has them on the wire.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <vector>

namespace pageserver::bench {

static_assert(std::endian::native == std::endian::little);

template <class Number>
Number swapped(Number value) {
  if constexpr (sizeof value == 8) return static_cast<Number>(__builtin_bswap64(value));
  if constexpr (sizeof value == 4) return static_cast<Number>(__builtin_bswap32(value));
  if constexpr (sizeof value == 2) return static_cast<Number>(__builtin_bswap16(value));
}

template <class Number>
Number big(const std::byte* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  return swapped(value);
}

template <class Number>
void put_big(std::vector<std::byte>& out, Number value) {
  const Number wire = swapped(value);
  const std::size_t at = out.size();
  out.resize(at + sizeof wire);
  std::memcpy(out.data() + at, &wire, sizeof wire);
}

}  // namespace pageserver::bench
