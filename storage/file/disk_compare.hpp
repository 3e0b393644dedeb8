// Whether a file's bytes are on the disk, and not only in memory.
#pragma once

#include <cstdint>
#include <string>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Syncs the open file `file`, which is `name` in the folder, and compares what it reads as with what the disk has,
/// past the system's page cache (O_DIRECT). True: the bytes from the block of `from` up to `until` are the same, so
/// they are durable for sure, whatever an earlier sync that failed has left in memory. False: they differ, or nobody
/// can tell: the sync fails, the file system has no such reads (tmpfs), or no longer has the file under this name.
/// Takes 2 MiB of memory meanwhile.
bool disk_has(const Folder& folder, const std::string& name, const File& file, std::uint64_t from, std::uint64_t until);

}  // namespace pageserver::storage
