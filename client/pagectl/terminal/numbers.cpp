#include "client/pagectl/terminal/numbers.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "base/units.hpp"

namespace pageserver::pagectl {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  if (!text.starts_with("0x") && !text.starts_with("0X")) return base::parse_size(text);
  text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value, 16);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  return value;
}

std::string bytes_text(std::uint64_t bytes) {
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

std::string hex16(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string time_text(std::int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return std::to_string(unix_ms) + " ms";
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

std::string pages_text(std::uint64_t pages) { return std::to_string(pages) + (pages == 1 ? " page" : " pages"); }

std::string version_text(const Version& version) {
  return hex16(version.incarnation) + ":" + std::to_string(version.number);
}

}  // namespace pageserver::pagectl
