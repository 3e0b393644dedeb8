#include "client/uri_text.hpp"

#include <algorithm>
#include <iterator>

#include "proto/codec.hpp"

namespace pageserver::client {
namespace {

bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_plain(char c, UriPart part) {
  if (is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~') return true;
  switch (part) {
    case UriPart::segment: return false;
    case UriPart::query_value: return c == '/' || c == ':' || c == '@' || c == ',';
    case UriPart::address: return c == ':';
  }
  return false;
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string percent_encode(std::string_view text, UriPart part) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_plain(c, part)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4u];
    out += digits[byte & 15u];
  }
  return out;
}

std::optional<std::string> percent_decode(std::string_view text, std::string_view& bad) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0') {
      bad = text.substr(i, 1);
      return std::nullopt;
    }
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0)) {
      bad = text.substr(i, 3);
      return std::nullopt;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t max) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (digit > max || value > (max - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::uint64_t day_ms = 24ull * 60 * 60 * 1000;
  const auto unit = text.substr(std::min(text.find_first_not_of("0123456789"), text.size()));
  std::uint64_t factor = 0;
  if (unit.empty() || unit == "ms")
    factor = 1;
  else if (unit == "s")
    factor = 1000;
  else if (unit == "m")
    factor = 60'000;
  else
    return std::nullopt;
  const auto number = parse_number(text.substr(0, text.size() - unit.size()), day_ms / factor);
  if (!number || *number == 0) return std::nullopt;
  return std::chrono::milliseconds{*number * factor};
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t bytes;
  };
  static constexpr Unit units[] = {
      {"", 1}, {"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}};
  const auto name = text.substr(std::min(text.find_first_not_of("0123456789"), text.size()));
  const auto* const unit =
      std::find_if(std::begin(units), std::end(units), [&](const Unit& each) { return each.name == name; });
  if (unit == std::end(units)) return std::nullopt;
  const auto number = parse_number(text.substr(0, text.size() - name.size()), UINT64_MAX / unit->bytes);
  if (!number) return std::nullopt;
  return *number * unit->bytes;
}

std::optional<std::string_view> scheme_of(std::string_view text) {
  if (text.empty() || !is_alpha(text.front())) return std::nullopt;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ':') return text.substr(0, i);
    if (!is_alpha(c) && !is_digit(c) && c != '+' && c != '-' && c != '.') return std::nullopt;
  }
  return std::nullopt;
}

bool is_session_name(std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return text.size() <= proto::name_bytes_max && proto::is_utf8(text) &&
         std::none_of(text.begin(), text.end(), is_control);
}

}  // namespace pageserver::client
