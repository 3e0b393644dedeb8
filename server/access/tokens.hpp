// The tokens file: names, and the SHA-256 of the secret that each of them shows. The secrets are nowhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.hpp"

namespace pageserver::server {

/// A name, and the hash of one of its secrets.
struct TokenHolder {
  std::string name;
  base::TokenHash hash{};
};

class Tokens {
public:
  using Entry = TokenHolder;

  Tokens() = default;
  explicit Tokens(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  std::size_t size() const noexcept { return entries_.size(); }
  /// Looks at every entry, whichever it is.
  std::optional<TokenHolder> find(const base::TokenHash& hash) const;
  std::optional<TokenHolder> holder_of(std::string_view token) const { return find(base::sha256(token)); }

private:
  std::vector<Entry> entries_;
};

/// Reads lines of `NAME sha256:HEX`, each as `pagectl token create` says it; `#` begins a comment. A name may be there
/// several times, each with another secret: the new and the old one, while clients change over. Returns every fault,
/// and then `tokens` is as before.
std::vector<std::string> read_tokens(std::string_view text, Tokens& tokens);

/// The file, which nobody but its owner (who has to be the daemon's user or root) may change or, but for its group,
/// read. Faults begin with its path. `text`: what it had, for who wants to know whether that changes.
std::vector<std::string> read_tokens_file(const std::string& path, Tokens& tokens, std::string* text = nullptr);

/// The text of a file that holds secrets, or what is wrong with it. `why`: empty when it was read.
std::string read_private_file(const std::string& path, std::string& why);

}  // namespace pageserver::server
