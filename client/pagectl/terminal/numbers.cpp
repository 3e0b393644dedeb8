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

std::string elapsed_text(std::uint64_t milliseconds) {
  if (milliseconds < 1000) return std::to_string(milliseconds) + " ms";
  const std::uint64_t seconds = milliseconds / 1000;
  if (seconds < 60) return std::to_string(seconds) + "." + std::to_string(milliseconds % 1000 / 100) + " s";
  if (seconds < 2 * 3600) return std::to_string(seconds / 60) + " min";
  if (seconds < 2 * 86400) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

std::string pages_text(std::uint64_t pages) { return std::to_string(pages) + (pages == 1 ? " page" : " pages"); }

std::string version_text(const Version& version) {
  return hex16(version.incarnation) + ":" + std::to_string(version.number);
}

}  // namespace pageserver::pagectl
