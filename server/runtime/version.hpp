// The program's own name and version, as hello and the log say them.
#pragma once

#include <string_view>

#include <pageserver/version.hpp>

namespace pageserver::server {

inline constexpr std::string_view version = PAGESERVER_VERSION;
inline constexpr std::string_view server_name = "pageserverd " PAGESERVER_VERSION;

}  // namespace pageserver::server
