// How much of a file is on the disk, and not only in memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"

namespace pageserver::storage {

/// Syncs the open file `file`, which is `name` in the folder, and compares what it reads as with what the disk has,
/// past the system's page cache (O_DIRECT). Returns up to where both are the same: those bytes are durable for sure,
/// whatever an earlier sync that failed has left in memory. It ends behind `limit`, which may sink meanwhile; at 0
/// nothing is begun. 0 where nobody can tell: the file system has no such reads (tmpfs, ext4 with data=journal, as
/// STATX_DIOALIGN says), is one that is known to answer them from a cache (ZFS, FUSE, the network), or no longer has
/// the file under this name. Nothing where the sync fails. What is not seen: another file system that does so where the
/// kernel does not say (before Linux 6.1), and caches of the disk itself, of a virtual machine's host or of a RAID
/// controller, which the sync is trusted to have emptied. Takes 2 MiB of memory meanwhile. `mapped` is a mapping of the
/// file from its byte 0 on (mapped_file.hpp), which spares a copy, or empty.
std::optional<std::uint64_t> disk_prefix(const Folder& folder, const std::string& name, const File& file,
                                         const std::atomic<std::uint64_t>& limit,
                                         std::span<const std::byte> mapped = {});

}  // namespace pageserver::storage
