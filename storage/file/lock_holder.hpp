// Who holds a lock on a file, as well as can be known.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// Such as `process 4711 (pageserverd)`. The lock is the truth about the holder; this is a description for a message,
/// read from /proc/locks, where a holder in another container or on another host does not show.
std::string lock_holder(FileSystem& file_system, const FileStatus& locked);

}  // namespace pageserver::storage
