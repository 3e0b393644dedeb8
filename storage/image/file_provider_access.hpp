// Makes a FileProvider over another file system than the operating system's: for tests and for the library itself.
#pragma once

#include <filesystem>

#include <pageserver/file_provider.hpp>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

struct FileProviderAccess {
  /// `file_system` outlives the provider.
  static FileProvider open(FileSystem& file_system, const std::filesystem::path& path, Access access);
};

}  // namespace pageserver::storage
