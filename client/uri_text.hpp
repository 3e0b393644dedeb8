// The letters of RFC 3986: percent-encoding, numbers, durations, sizes. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pageserver::client {

enum class UriPart : std::uint8_t {
  segment,      ///< a name between slashes, a host's name
  query_value,  ///< slashes and colons stay as they are
  address,      ///< between the brackets of an IPv6 address
};

std::string percent_encode(std::string_view text, UriPart part);

/// The decoded text, or nothing: then `bad` is the wrong escape (`%zz`, `%4`), or `%00`, which no name may hold.
std::optional<std::string> percent_decode(std::string_view text, std::string_view& bad);

/// A decimal number of digits only, from 0 to `max`.
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max);

/// `500ms`, `10s`, `2m`, or a bare number of milliseconds; from 1 ms to 24 hours.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Bytes: a number, alone or with B, KiB, MiB, GiB or TiB directly behind it.
std::optional<std::uint64_t> parse_size(std::string_view text);

/// RFC 3986 `scheme`: what stands before the first colon when it can be one; nothing for a plain path.
std::optional<std::string_view> scheme_of(std::string_view text);

/// What a session may call itself: at most 255 bytes of UTF-8 without control characters.
bool is_session_name(std::string_view text);

}  // namespace pageserver::client
