// Secrets in texts that people see: a token, a private key or a password that somebody has put where a name belongs.
// Header only, so that every part may use it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace pageserver::base {

/// [begin, end) of a text; both npos: there is none.
struct SecretPlace {
  std::size_t begin = std::string_view::npos;
  std::size_t end = std::string_view::npos;
};

namespace secrets {

constexpr std::string_view token = "pgt_";  // base/token.hpp makes them
constexpr std::size_t token_bytes_min = 8;  // what is shorter is in nobody's file
constexpr std::string_view key = "KEY";     // -----BEGIN ... PRIVATE KEY-----
constexpr std::string_view authority = "://";
// What a key of a URI begins with that has one, also where it is misspelt. One that ends in "_file" names a file.
constexpr std::array<std::string_view, 8> query_keys{"tok",  "pass", "pw",   "secret",
                                                     "cred", "key",  "auth", "access_tok"};

constexpr bool is_letter_or_digit(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// The least of `marks` at or behind `from`, or the end.
constexpr std::size_t before(std::string_view text, std::size_t from, std::string_view marks) noexcept {
  return std::min(text.find_first_of(marks, from), text.size());
}

/// How many bytes of `text` are the five dashes of a PEM file at its front, as they are or as a URI may have them; 0:
/// there are none.
constexpr std::size_t dashes_at_front(std::string_view text) noexcept {
  std::size_t at = 0;
  for (int i = 0; i < 5; ++i) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with('-'))
      at += 1;
    else if (rest.starts_with("%2D") || rest.starts_with("%2d"))
      at += 3;
    else
      return 0;
  }
  return at;
}

/// The word at `at` ends the first line of a PEM file, and not its last one.
constexpr bool is_first_line(std::string_view text, std::size_t at) noexcept {
  const std::size_t begin = text.substr(0, at).rfind("BEGIN"), end = text.substr(0, at).rfind("END");
  return begin != std::string_view::npos && (end == std::string_view::npos || end < begin);
}

/// What stands directly behind `at`, if that begins a secret.
constexpr SecretPlace place_at(std::string_view text, std::size_t at) noexcept {
  const std::string_view here = text.substr(at);
  if (here.starts_with(token)) {
    const std::size_t begin = at + token.size();
    std::size_t end = begin;
    while (end < text.size() && is_letter_or_digit(text[end])) ++end;
    if (end - begin >= token_bytes_min) return {begin, end};
  } else if (here.starts_with(key)) {
    const std::size_t dashes = dashes_at_front(here.substr(key.size()));
    if (dashes == 0 || !is_first_line(text, at)) return {};
    const std::size_t begin = at + key.size() + dashes;
    std::size_t end = begin;
    while (end < text.size() && dashes_at_front(text.substr(end)) == 0) ++end;
    if (end > begin) return {begin, end};
  } else if (here.starts_with(authority)) {
    const std::size_t begin = at + authority.size();
    const std::size_t end = before(text, begin, "/?# \"\n");
    const std::size_t user = text.substr(0, end).rfind('@');
    if (user != std::string_view::npos && user > begin) return {begin, user};
  } else if (here.front() == '?' || here.front() == '&') {
    const std::size_t equals = before(text, at, "=");
    const std::string_view name = text.substr(at + 1, equals - at - 1);
    const bool has_secret =
        std::any_of(query_keys.begin(), query_keys.end(), [&](std::string_view one) { return name.starts_with(one); });
    if (!has_secret || name.ends_with("_file") || name.find_first_of("?& \"/") != std::string_view::npos) return {};
    const std::size_t end = before(text, equals, "&#\" \n");
    if (end > equals + 1) return {equals + 1, end};
  }
  return {};
}

}  // namespace secrets

/// The first one that begins behind `from`: of a token what follows its "pgt_", of a private key in PEM form what
/// follows its first line, of a URI its user and password, and what a key such as `password=` has.
constexpr SecretPlace next_secret(std::string_view text, std::size_t from = 0) noexcept {
  for (std::size_t at = text.find_first_of("pK:?&", from); at < text.size(); at = text.find_first_of("pK:?&", at + 1))
    if (const SecretPlace found = secrets::place_at(text, at); found.begin != std::string_view::npos) return found;
  return {};
}

constexpr bool has_secret(std::string_view text) noexcept { return next_secret(text).begin < text.size(); }

/// `text` with "..." for each of them.
inline std::string without_secrets(std::string_view text) {
  static constexpr std::string_view instead = "...";
  std::string out;
  std::size_t at = 0;
  for (SecretPlace one = next_secret(text); one.begin < text.size(); one = next_secret(text, at)) {
    out += text.substr(at, one.begin - at);
    out += instead;
    at = one.end;
  }
  return out += text.substr(at);
}

/// `text` itself where it has none, as nearly all do, else what without_secrets() makes of it, kept in `memory`.
inline std::string_view harmless(std::string_view text, std::string& memory) {
  if (!has_secret(text)) return text;
  return memory = without_secrets(text);
}

/// Takes them out of the words that every user of the machine sees (ps, /proc/PID/cmdline). Who needs the words has
/// copied them before.
inline void hide_secrets(int count, char** words) noexcept {
  for (int i = 0; i < count; ++i) {
    const std::string_view word = words[i];
    for (SecretPlace one = next_secret(word); one.begin < word.size(); one = next_secret(word, one.end))
      std::fill(words[i] + one.begin, words[i] + one.end, '*');
  }
}

}  // namespace pageserver::base
