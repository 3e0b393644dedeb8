// Which file systems can't keep what a store promises.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Empty for a file system of this machine. For a network or FUSE file system, by its magic number, why locks and
/// syncs mean less there than the promises need: a message for people.
std::string file_system_warning(std::uint64_t magic);

/// Whether to read files there through a mapping. Not where they may change on another machine: a mapping may show
/// something else than a read. Nor where a mapping gives memory to each hole that is looked at, as tmpfs does.
bool is_good_to_map(const Folder& folder);

/// The same as file_system_warning() for the file system of an open folder, and for that which holds `path`; empty when
/// that can't be known.
std::string file_system_warning_of(const Folder& folder);
std::string file_system_warning_of(FileSystem& file_system, const std::string& path);

}  // namespace pageserver::storage
