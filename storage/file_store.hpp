// A store straight on its image file: every request is in the file when it is answered, and nothing lies beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/background.hpp"
#include "storage/file_system.hpp"
#include "storage/store.hpp"

namespace pageserver::storage {

struct FileStoreOptions {
  bool read_only = false;
  bool create = true;           ///< make an empty image when there is none
  bool follow_symlinks = true;  ///< false: refuse a path whose last component is a symbolic link
  std::uint32_t file_mode = 0640;
  std::uint64_t size_bytes_max = 1ull << 40;  ///< that grow() meets; a larger image opens all the same
};

/// Sessions: one writer with Publish::on_write, any number of live readers. Publish::on_flush, View::pinned and
/// Access::fork are unsupported. Requests are atomic against each other while the process lives; a kill can tear a
/// request that was not answered yet.
///
/// Syncs run on `sync_lane`, and so do the callbacks of sessions that waited in line and the notices of lost leases.
/// `file_system` and `sync_lane` outlive the store. Errors as ImageFile::open().
std::unique_ptr<Store> open_file_store(FileSystem& file_system, const std::string& path,
                                       const FileStoreOptions& options, Background& sync_lane);

}  // namespace pageserver::storage
