#include "client/wire/error_text.hpp"

#include <system_error>

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

}  // namespace pageserver::client
