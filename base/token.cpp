#include "base/token.hpp"

#include <cstring>
#include <span>
#include <stdexcept>

#include "base/bytes.hpp"
#include "base/openssl.hpp"

namespace pageserver::base {

namespace {

constexpr std::string_view hash_prefix = "sha256:";

}  // namespace

std::string make_token() {
  std::array<unsigned char, token_digits / 2> secret{};
  if (openssl().RAND_priv_bytes(secret.data(), static_cast<int>(secret.size())) != 1)
    throw std::runtime_error("no random numbers for a token: the system has none");
  std::string token = std::string(token_prefix) + hex_text(std::as_bytes(std::span(secret)));
  ::explicit_bzero(secret.data(), secret.size());
  return token;
}

bool is_token(std::string_view text) noexcept {
  if (!text.starts_with(token_prefix) || text.size() != token_prefix.size() + token_digits) return false;
  for (const char c : text.substr(token_prefix.size()))
    if (hex_value(c) < 0 || (c >= 'A' && c <= 'F')) return false;
  return true;
}

TokenHash sha256(std::string_view text) {
  TokenHash hash{};
  unsigned int length = 0;
  if (openssl().EVP_Digest(text.data(), text.size(), hash.data(), &length, openssl().EVP_sha256(), nullptr) != 1 ||
      length != hash.size())
    throw std::runtime_error("SHA-256 can't be had from OpenSSL");
  return hash;
}

std::string text_of(const TokenHash& hash) {
  return std::string(hash_prefix) + hex_text(std::as_bytes(std::span(hash)));
}

std::optional<TokenHash> parse_token_hash(std::string_view text) noexcept {
  TokenHash hash{};
  if (!text.starts_with(hash_prefix) || text.size() != hash_prefix.size() + 2 * hash.size()) return {};
  text.remove_prefix(hash_prefix.size());
  for (std::size_t i = 0; i < hash.size(); ++i) {
    const int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return {};
    hash[i] = static_cast<unsigned char>(high * 16 + low);
  }
  return hash;
}

bool same(const TokenHash& one, const TokenHash& two) noexcept {
  return openssl().CRYPTO_memcmp(one.data(), two.data(), one.size()) == 0;
}

}  // namespace pageserver::base
