// The letters of RFC 3986: percent-encoding, schemes, names. Pure.
#pragma once

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

/// RFC 3986 `scheme`: what stands before the first colon when it can be one; nothing for a plain path.
std::optional<std::string_view> scheme_of(std::string_view text);

/// What a session may call itself: at most 255 bytes of UTF-8 without characters that base::is_unsafe().
bool is_session_name(std::string_view text);

}  // namespace pageserver::client
