#include "client/wire/error_text.hpp"

#include <system_error>

#include "base/text.hpp"

namespace pageserver::client {

std::string error_text(std::string_view context, std::string_view operation, std::string_view message) {
  std::string text{context};
  text += ": ";
  const bool named =
      message.starts_with(operation) &&
      (message.size() == operation.size() || message[operation.size()] == ' ' || message[operation.size()] == ':');
  if (!named) {
    text += operation;
    text += ": ";
  }
  text += message;
  return text;
}

std::string system_text(int error) { return std::generic_category().message(error); }

std::string no_store_name(std::string_view store) {
  return base::quoted(store) + " is no store's name: expected a letter or digit, then at most 63 letters, digits, " +
         "dots, underscores and hyphens";
}

}  // namespace pageserver::client
