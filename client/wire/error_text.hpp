// How the client words its errors.
#pragma once

#include <string>
#include <string_view>

namespace pageserver::client {

/// "CONTEXT: OPERATION: MESSAGE"; the operation only where the message does not begin with it.
std::string error_text(std::string_view context, std::string_view operation, std::string_view message);

/// The system's words for an errno.
std::string system_text(int error);

/// Why `store`, which is none, can't be a store's name.
std::string no_store_name(std::string_view store);

}  // namespace pageserver::client
