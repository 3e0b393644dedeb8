// Numbers, sizes and durations as people write them: the same in a URI, on a command line and in a configuration.
// Header only, so that every part may use it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace pageserver::base {

/// A decimal number of digits only, from 0 to `max`.
constexpr std::optional<std::uint64_t> parse_number(std::string_view text,
                                                    std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (digit > max || value > (max - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

/// A decimal number with one of `units` directly behind it, multiplied; at most `max`.
template <std::size_t count>
constexpr std::optional<std::uint64_t> parse_with_unit(std::string_view text, const std::array<Unit, count>& units,
                                                       std::uint64_t max) {
  const auto name = text.substr(std::min(text.find_first_not_of("0123456789"), text.size()));
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    const auto number = parse_number(text.substr(0, text.size() - name.size()), max / unit.factor);
    return number ? std::optional{*number * unit.factor} : std::nullopt;
  }
  return std::nullopt;
}

/// Bytes: a number, alone or with B, KiB, MiB, GiB, TiB or PiB directly behind it.
constexpr std::optional<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::array<Unit, 7> units{{{"", 1},
                                       {"B", 1},
                                       {"KiB", 1ull << 10},
                                       {"MiB", 1ull << 20},
                                       {"GiB", 1ull << 30},
                                       {"TiB", 1ull << 40},
                                       {"PiB", 1ull << 50}}};
  return parse_with_unit(text, units, std::numeric_limits<std::uint64_t>::max());
}

/// `500ms`, `10s`, `2m`, `1h`, or a bare number of milliseconds; from 0 to 366 days. More is a mistake, and far more
/// would not fit a clock.
constexpr std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::array<Unit, 5> units{{{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
  const auto milliseconds = parse_with_unit(text, units, 366ull * 24 * 3'600'000);
  if (!milliseconds) return std::nullopt;
  return std::chrono::milliseconds{static_cast<std::chrono::milliseconds::rep>(*milliseconds)};
}

/// "512 B", "64.0 KiB", "1.5 GiB"
inline std::string bytes_text(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr std::array names{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < names.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, names[unit]);
  return text.data();
}

}  // namespace pageserver::base
