// Little-endian numbers in the log's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pageserver::storage {

template <class Number>
void put(std::span<std::byte> bytes, std::size_t at, Number number) noexcept {
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    bytes[at + i] = static_cast<std::byte>(static_cast<std::uint64_t>(number) >> (8 * i));
}

template <class Number>
Number get(std::span<const std::byte> bytes, std::size_t at) noexcept {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) number |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
  return static_cast<Number>(number);
}

}  // namespace pageserver::storage
