// Which file systems can't keep the promises of a store.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Takes a file system's magic number. Empty for a file system of this machine; for a network or FUSE file system a
/// message for people: why locks and syncs mean less there than the promises need.
std::string file_system_warning(std::uint64_t magic);

/// Whether files there may be read through a mapping. False where another machine may change them, since a mapping may
/// then show something else than a read; and on tmpfs, where reading a hole through a mapping takes memory.
bool is_good_to_map(const Folder& folder);

/// file_system_warning() for the file system of an open folder, and for the one that holds `path`. Empty when that
/// can't be known.
std::string file_system_warning_of(const Folder& folder);
std::string file_system_warning_of(FileSystem& file_system, const std::string& path);

}  // namespace pageserver::storage
