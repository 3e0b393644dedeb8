// Takes a payload apart. Sizes are checked before anything is read, and the first fault is the one that is told.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "proto/byte_order.hpp"
#include "proto/codec.hpp"
#include "proto/text.hpp"

namespace pageserver::proto {

/// "read request payload is 15 bytes, expected 16".
[[nodiscard, gnu::cold, gnu::noinline]] Fault wrong_size(std::string_view what, std::size_t found,
                                                         std::string_view expectation, std::size_t expected);

/// Of a message without a payload.
Decoded decode_nothing(std::string_view what, std::span<const std::byte> payload);

/// How to use it: at_least() with the fixed part, numbers in their order, exactly() with the whole size that the
/// numbers say, texts in their order, result(). Nothing may be read after a false.
class PayloadReader {
public:
  /// `what` names the message in faults, such as "open request"; it must outlive the reader.
  PayloadReader(std::string_view what, std::span<const std::byte> payload) noexcept : what_(what), payload_(payload) {}

  [[nodiscard]] bool at_least(std::size_t bytes);
  [[nodiscard]] bool exactly(std::size_t bytes);

  template <std::unsigned_integral Number>
  Number number() noexcept {
    return load<Number>(take(sizeof(Number)).data());
  }
  Version version() noexcept {
    const auto incarnation = number<std::uint64_t>();
    return {incarnation, number<std::uint64_t>()};
  }
  /// Bytes that must be zero.
  void reserved(std::size_t bytes);
  /// A byte of which only the bits of `known` may be set.
  std::uint8_t flags(std::uint8_t known);
  /// The same of two bytes.
  std::uint16_t flags16(std::uint16_t known);
  /// A byte that is one of 0..`last`.
  template <class Enum>
  Enum choice(Enum last, std::string_view field) {
    const auto value = number<std::uint8_t>();
    if (value > static_cast<std::uint8_t>(last)) bad_choice(field, value, static_cast<std::uint8_t>(last));
    return static_cast<Enum>(value);
  }
  /// Bytes that this version knows nothing of.
  void skip(std::size_t bytes) noexcept { take(bytes); }
  std::size_t position() const noexcept { return position_; }
  /// UTF-8 of `bytes` bytes, at most `bytes_max`.
  std::string_view text(std::size_t bytes, std::size_t bytes_max, std::string_view field);
  /// A text without control characters, for names that people choose.
  std::string_view name(std::size_t bytes, std::string_view field);
  /// A store's name as a request carries it.
  std::string_view store_name(std::size_t bytes);
  /// The whole payload of a ping.
  std::span<const std::byte> echo();
  /// Rising, not overlapping, not empty, ending within 64 bits.
  void ranges(std::size_t count, std::vector<Range>& out);

  void refuse(Status status, std::string message);
  /// Empty when all went well. Everything must have been read then.
  [[nodiscard]] Decoded result();

private:
  std::span<const std::byte> take(std::size_t bytes) noexcept {
    assert(bytes <= payload_.size() - position_);
    const auto taken = payload_.subspan(position_, bytes);
    position_ += bytes;
    return taken;
  }
  void check_flags(unsigned value, unsigned known);
  void bad_choice(std::string_view field, unsigned value, unsigned last);

  std::string_view what_;
  std::span<const std::byte> payload_;
  std::size_t position_ = 0;
  Decoded fault_;
};

}  // namespace pageserver::proto
