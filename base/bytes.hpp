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

/// How many bytes there are up to the last one that is not zero, with it.
inline std::size_t bytes_without_zeros_at_end(std::span<const std::byte> bytes) noexcept {
  constexpr std::size_t at_once = 4096;
  std::size_t end = bytes.size();
  while (end >= at_once && all_zero(bytes.subspan(end - at_once, at_once))) end -= at_once;
  while (end > 0 && bytes[end - 1] == std::byte{0}) --end;
  return end;
}

/// Appends the two lower-case hex digits of a byte.
constexpr void append_hex(std::string& out, std::byte byte) {
  constexpr char digits[] = "0123456789abcdef";
  out += digits[std::to_integer<unsigned>(byte) >> 4U];
  out += digits[std::to_integer<unsigned>(byte) & 15U];
}

/// Two lower-case hex digits for each byte.
inline std::string hex_text(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) append_hex(text, byte);
  return text;
}

/// 0 to 15, or -1 of what is no hex digit.
constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace pageserver::base
