// What of a log is dropped without being in the image: removed where it never counted for anybody, else kept under a
// name that no store takes for one of its own.
#pragma once

#include <string>

#include "storage/engine/recovery.hpp"
#include "storage/file/folder.hpp"
#include "storage/log/log_scan.hpp"

namespace pageserver::storage {

/// Takes what is behind the cut out of the log, newest first. After a loss of power that is a tail which was never
/// durable, and is removed. Where the page cache was never lost since, or nothing says so, somebody changed the files:
/// those that hold something are kept. Says all that in `report`. Can be called again after a kill.
void drop_behind_cut(const Folder& folder, const std::string& image_name, const LogScan& scan, RecoveryReport& report);

/// The whole log gets other names, newest first; the folder is synced.
void set_log_aside(const Folder& folder, const std::string& image_name, RecoveryReport& report);

}  // namespace pageserver::storage
