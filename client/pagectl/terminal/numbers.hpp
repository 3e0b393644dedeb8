// Numbers as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <pageserver/session.hpp>

#include "base/units.hpp"

namespace pageserver::pagectl {

/// "4096", "0x1000", "4KiB" (KiB, MiB, GiB, TiB, PiB); nothing when it is none of these or over 64 bits.
std::optional<std::uint64_t> parse_number(std::string_view text);

using base::bytes_text;
/// 16 hex digits.
std::string hex16(std::uint64_t value);
/// "2026-01-31 12:00:00 UTC"
std::string time_text(std::int64_t unix_ms);
/// "350 ms", "12.3 s", "5 min", "3 h", "2 d"
std::string elapsed_text(std::uint64_t milliseconds);
/// "1 page", "3 pages"
std::string pages_text(std::uint64_t pages);
/// "1a2b...:17": incarnation and number.
std::string version_text(const Version& version);

}  // namespace pageserver::pagectl
