// Describes the process that holds a lock on a file, as far as the kernel tells.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// Returns a text such as `process 4711 (pageserverd)`, for a message. It comes from /proc/locks, which shows no holder
/// in another container or on another host: nothing may be decided by it.
std::string lock_holder(FileSystem& file_system, const FileStatus& locked);

}  // namespace pageserver::storage
