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

/// Tells how much of the open file `file`, which is `name` in the folder, is on the disk. It works like this: the file
/// is synced; then it is read twice, from the page cache and past it (O_DIRECT), and both are compared. The result is
/// the length of the equal prefix: those bytes are durable for sure, also after an earlier sync failed and left others
/// in memory.
///
/// The comparison stops at `limit`, which may sink meanwhile; with 0 nothing is done. Returns
/// - nothing where the sync fails;
/// - 0 where the disk can't be asked: the file system has no O_DIRECT reads (tmpfs, ext4 with data=journal, as
///   STATX_DIOALIGN says), is known to answer them from a cache (ZFS, FUSE, the network), or has another file under
///   this name by now.
/// Two things go unseen: a file system that answers from a cache without being known for it, where the kernel does not
/// say (before Linux 6.1); and caches of the disk, of a virtual machine's host or of a RAID controller. Those the sync
/// is trusted to have emptied.
///
/// Takes 2 MiB of memory meanwhile. `mapped` is a mapping of the file from its byte 0 on (mapped_file.hpp), which
/// spares a copy, or empty.
std::optional<std::uint64_t> disk_prefix(const Folder& folder, const std::string& name, const File& file,
                                         const std::atomic<std::uint64_t>& limit,
                                         std::span<const std::byte> mapped = {});

}  // namespace pageserver::storage
