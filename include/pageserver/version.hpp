// Which version of the library a program was compiled for, and which one runs.
#pragma once

#include <string_view>

#include <pageserver/export.hpp>

#define PAGESERVER_VERSION_MAJOR 0
#define PAGESERVER_VERSION_MINOR 1
#define PAGESERVER_VERSION_PATCH 0
#define PAGESERVER_VERSION "0.1.0"

/// For `#if`: major * 1000000 + minor * 1000 + patch.
#define PAGESERVER_VERSION_NUMBER \
  (PAGESERVER_VERSION_MAJOR * 1000000 + PAGESERVER_VERSION_MINOR * 1000 + PAGESERVER_VERSION_PATCH)

namespace pageserver {

/// The version of the library that runs, such as "0.1.0"; ends in a zero byte. With the static library it is always the
/// one of the headers above; the shared one may have another patch version.
PAGESERVER_EXPORT std::string_view library_version() noexcept;

}  // namespace pageserver
