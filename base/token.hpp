// Tokens: secrets of 256 random bits that say who a client is.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace pageserver::base {

using TokenHash = std::array<unsigned char, 32>;

/// What a token begins with, so that whoever looks for secrets in files finds it.
inline constexpr std::string_view token_prefix = "pgt_";
inline constexpr std::size_t token_digits = 64;

/// "pgt_" and 64 hex digits, by the system's random numbers. Throws std::runtime_error where there are none.
std::string make_token();
bool is_token(std::string_view text) noexcept;
/// Of the whole text.
TokenHash sha256(std::string_view text);
/// "sha256:" and 64 hex digits.
std::string text_of(const TokenHash& hash);
std::optional<TokenHash> parse_token_hash(std::string_view text) noexcept;
/// Takes as long whether they are or not.
bool same(const TokenHash& one, const TokenHash& two) noexcept;

}  // namespace pageserver::base
