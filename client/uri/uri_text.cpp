#include "client/uri/uri_text.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
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
    const int high = i + 1 < text.size() ? base::hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? base::hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0 || (high == 0 && low == 0)) {
      bad = text.substr(i, 3);
      return std::nullopt;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
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

bool is_session_name(std::string_view text) { return text.size() <= proto::name_bytes_max && !base::has_unsafe(text); }

}  // namespace pageserver::client
