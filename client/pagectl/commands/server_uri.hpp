// A daemon's address as people type it.
#pragma once

#include <string>

#include "client/uri/uri.hpp"

namespace pageserver::pagectl {

bool is_uri(const std::string& text);
/// A URI, or HOST[:PORT].
client::Uri parse_server(const std::string& text);
/// A store is named, and not a daemon alone.
bool names_store(const std::string& text);

}  // namespace pageserver::pagectl
