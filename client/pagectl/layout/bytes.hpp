// Little-endian numbers out of bytes that nobody vouches for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.hpp"

namespace pageserver::layout {

inline constexpr std::uint32_t page_bytes = 65536;

using Bytes = std::span<const std::byte>;

/// `at` and what follows lie within `bytes`.
template <class Number>
Number number_at(Bytes bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    value |= static_cast<std::uint64_t>(std::to_integer<std::uint8_t>(bytes[at + i])) << (8 * i);
  return static_cast<Number>(value);
}

/// Reads from the front. What is not there reads as zeros, and short() says so from then on.
class ByteReader {
public:
  explicit ByteReader(Bytes bytes, std::size_t at = 0) : bytes_(bytes), at_(at) {}

  template <class Number>
  Number number() {
    if (!has(sizeof(Number))) return 0;
    const auto value = number_at<Number>(bytes_, at_);
    at_ += sizeof(Number);
    return value;
  }
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  Bytes bytes(std::size_t count) {
    if (!has(count)) return {};
    const Bytes found = bytes_.subspan(at_, count);
    at_ += count;
    return found;
  }
  std::size_t at() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }
  bool is_short() const { return short_; }

private:
  bool has(std::size_t count) {
    if (short_ || count > left()) short_ = true;
    return !short_;
  }

  Bytes bytes_;
  std::size_t at_;
  bool short_ = false;
};

inline Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }
inline std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

using base::all_zero;

/// Valid UTF-8, as Rust wants its strings.
bool is_utf8(Bytes bytes);
/// XXH3-64 with seed 0.
std::uint64_t hash_of(Bytes bytes);

/// The same of bytes that come in pieces.
class Hash {
public:
  Hash();
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  ~Hash();
  void add(Bytes bytes);
  std::uint64_t digest() const;

private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pageserver::layout
