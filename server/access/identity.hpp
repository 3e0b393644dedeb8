// Who a client is. One identity per connection; it never changes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pageserver::server {

/// "uid:1000", "token:ci", or "anyone": nobody in particular. As rules name it.
class Identity {
public:
  static constexpr std::string_view anyone = "anyone";

  Identity() : text_(anyone) {}
  static Identity of_uid(std::uint32_t uid) { return Identity("uid:" + std::to_string(uid)); }
  static Identity of_token(const std::string& name) { return Identity("token:" + name); }
  /// As --explain takes it, already checked by is_identity().
  explicit Identity(std::string text) : text_(std::move(text)) {}

  const std::string& text() const noexcept { return text_; }

private:
  std::string text_;
};

/// "anyone", or "token:", "cert:" or "uid:" with a name behind it; `*` in the name only where `patterns` are allowed.
bool is_identity(std::string_view text, bool patterns);
/// `*` in `pattern` stands for any number of characters.
bool matches(std::string_view pattern, std::string_view text);

}  // namespace pageserver::server
