// The control groups that this process is in, where limits of a container or a service are.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// Calls `see(folder, v2)` for the folder of each group that rules over `controller` ("cpu", "memory"), from this
/// process's own up to the top, as /proc/self/cgroup under `root` names them. `root` is empty for the machine's own
/// files. Some of the folders may not be there.
void visit_control_groups(FileSystem& file_system, const std::string& root, std::string_view controller,
                          const std::function<void(const std::string& folder, bool v2)>& see);

}  // namespace pageserver::storage
