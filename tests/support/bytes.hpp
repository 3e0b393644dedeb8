// Bytes for tests to write and to compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pageserver/memory_provider.hpp>

namespace pageserver::test {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  return {bytes.begin(), bytes.end()};
}

inline std::string text_at(MemoryProvider& image, std::uint64_t offset, std::size_t length) {
  std::vector<std::byte> bytes(length);
  image.read(offset, bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void write_text(MemoryProvider& image, std::uint64_t offset, std::string_view text) {
  image.write(offset, std::as_bytes(std::span{text}));
}

/// Bytes that differ from their neighbours and from zeros, and between different `salt`.
inline std::vector<std::byte> pattern(std::size_t length, unsigned salt = 0) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>(1 + (i * 7 + i / 251 + salt * 31) % 255);
  }
  return bytes;
}

}  // namespace pageserver::test
