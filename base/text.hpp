// Texts that others wrote, made fit for a terminal and a log: what could move a cursor, forge a line or turn the
// direction of writing is shown as what it is. Header only, so that every part may use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace pageserver::base {

/// A character at the front of a text. `bytes` 0: there is none, since what stands there is not UTF-8.
struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;
};

/// Overlong forms, surrogates and values above U+10FFFF are not UTF-8 (RFC 3629, section 4). `text` is not empty.
constexpr Character first_character(std::string_view text) noexcept {
  const auto at = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (text.size() < length) return {};
  std::uint32_t code = lead & (length == 2 ? 0x1Fu : length == 3 ? 0x0Fu : 0x07u);
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0u) != 0x80u) return {};
    code = code << 6 | (at(i) & 0x3Fu);
  }
  const std::uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, length};
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and characters that turn the direction of a text.
constexpr bool is_unsafe(std::uint32_t code) noexcept {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/// True when `text` has an unsafe character, or is not UTF-8.
constexpr bool has_unsafe(std::string_view text) noexcept {
  while (!text.empty()) {
    const Character next = first_character(text);
    if (next.bytes == 0 || is_unsafe(next.code)) return true;
    text.remove_prefix(next.bytes);
  }
  return false;
}

/// `text` with its unsafe characters as \xNN or \u{NNNN} and bytes that are not UTF-8 as \xNN. The rest, backslashes
/// too, stays: a text that was made visible once is left as it is.
inline std::string visible(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character next = first_character(text);
    if (next.bytes != 0 && !is_unsafe(next.code)) {
      out += text.substr(0, next.bytes);
    } else if (next.code < 0x80) {
      out += "\\x";
      append_hex(out, static_cast<std::byte>(text.front()));
    } else {
      out += "\\u{";
      for (int shift = next.code > 0xFFFF ? 20 : 12; shift >= 0; shift -= 4) out += digits[next.code >> shift & 15u];
      out += '}';
    }
    text.remove_prefix(next.bytes == 0 ? 1 : next.bytes);
  }
  return out;
}

/// `text` as HTML, SVG and attributes of both in double or single quotes may have it. What a document may not hold at
/// all is for visible().
inline std::string markup(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

/// `text` in quotes for a message, visible. Its own quotes stay as they are: the text is for people, and not parsed.
inline std::string quoted(std::string_view text) { return '"' + visible(text) + '"'; }
// Without these an unqualified call with a std::string would find std::quoted.
inline std::string quoted(const std::string& text) { return quoted(std::string_view{text}); }
inline std::string quoted(std::string& text) { return quoted(std::string_view{text}); }
inline std::string quoted(const char* text) { return quoted(std::string_view{text}); }

}  // namespace pageserver::base
