#include "client/wire/credentials.hpp"

#include <string.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <pageserver/error.hpp>

#include "base/loopback.hpp"
#include "base/small_file.hpp"
#include "base/text.hpp"
#include "client/wire/error_text.hpp"
#include "proto/wire.hpp"

namespace pageserver::client {
namespace {

constexpr const char* variable = "PAGESERVER_TOKEN";
constexpr std::string_view word = "token ";
constexpr std::size_t token_bytes_max = proto::credentials_bytes_max - word.size();

[[noreturn]] void refuse(const std::string& context, Errc code, const std::string& message) {
  throw MemoryError{code, error_text(context, "token", message)};
}

std::string read_file(const std::string& context, const std::string& path) {
  const std::string name = "token_file " + base::quoted(path) + ": ";
  const base::SmallFile file{path};
  if (file.error() != 0)
    refuse(context, file.error() == ENOENT ? Errc::not_found : Errc::permission_denied,
           name + system_text(file.error()));
  if (file.is_open_to_others())
    refuse(context, Errc::permission_denied, name + "others can read or change it; chmod 600 " + path);
  std::string text;
  // One that is too long is no token, which is said of it where its characters are looked at.
  const int error = file.read(text, token_bytes_max);
  if (error != 0 && error != EFBIG) refuse(context, Errc::provider_error, name + system_text(error));
  return text;
}

}  // namespace

void Secret::wipe() noexcept {
  ::explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

Secret credentials_for(int socket, bool is_encrypted, const std::string& context, const std::string& token,
                       const std::string& token_file) {
  std::string text = token;
  std::string from = "the option token";
  if (text.empty() && !token_file.empty()) {
    text = read_file(context, token_file);
    from = "token_file " + base::quoted(token_file);
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    if (text.empty()) refuse(context, Errc::invalid_argument, from + " is empty");
  }
  // glibc gives nothing to a program that runs with another user's rights.
  if (const char* const given = ::secure_getenv(variable); text.empty() && given != nullptr) {
    text = given;
    from = std::string{"the environment's "} + variable;
  }
  if (text.empty()) return Secret{};
  Secret secret{std::string{word} + text};
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
  const std::size_t size = text.size();
  ::explicit_bzero(text.data(), size);
  if (!printable || size > token_bytes_max)
    refuse(context, Errc::invalid_argument,
           from + " is no token: one line of at most " + std::to_string(token_bytes_max) +
               " letters and digits, as `pagectl token create` made it");
  if (!is_encrypted && !base::stays_on_this_machine(socket))
    refuse(context, Errc::permission_denied,
           from +
               " is sent only over TLS, a Unix socket or to this machine's loopback, since on a network others can "
               "listen; use pageservers://, or connect without it");
  return secret;
}

}  // namespace pageserver::client
