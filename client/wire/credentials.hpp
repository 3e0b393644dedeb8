// The secret that a client shows in its hello.
#pragma once

#include <string>
#include <utility>

namespace pageserver::client {

/// A text that is wiped when it goes.
class Secret {
public:
  Secret() = default;
  explicit Secret(std::string text) : text_{std::move(text)} {}
  Secret(Secret&& other) noexcept : text_{std::move(other.text_)} { other.wipe(); }
  Secret& operator=(Secret&&) = delete;
  ~Secret() { wipe(); }

  const std::string& text() const { return text_; }
  bool empty() const { return text_.empty(); }

private:
  void wipe() noexcept;
  std::string text_;
};

/// What hello carries: "token SECRET" of `token`, else of the file, else of the environment's PAGESERVER_TOKEN, else
/// nothing. Throws not_found, permission_denied (a file that others can read), invalid_argument, and permission_denied
/// where there is a secret and others could listen on `socket`, which nobody can where what it carries `is_encrypted`;
/// texts begin with `context` and never have the secret.
Secret credentials_for(int socket, bool is_encrypted, const std::string& context, const std::string& token,
                       const std::string& token_file);

}  // namespace pageserver::client
