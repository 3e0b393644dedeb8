// Bytes as such. Header only, so that every part may use it.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>

namespace pageserver::base {

/// True when every byte is zero; of no bytes too.
inline bool all_zero(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty()) return true;
  return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

/// Appends the two lower-case hex digits of a byte.
constexpr void append_hex(std::string& out, std::byte byte) {
  constexpr char digits[] = "0123456789abcdef";
  out += digits[std::to_integer<unsigned>(byte) >> 4U];
  out += digits[std::to_integer<unsigned>(byte) & 15U];
}

}  // namespace pageserver::base
