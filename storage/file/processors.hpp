// How many processors this process can use. A process that polls must not take the one that its peer needs.
#pragma once

#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// How many processors this process can run on at the same time, at least 1: the smaller one of its affinity mask and
/// the CPU quota of its control group, in whole processors.
unsigned usable_processors();

/// The quota of the control group that /proc/self/cgroup under `root` names (cgroup v1 or v2, with the groups above
/// it), in whole processors, at least 1; 0 where there is none. `root` is empty for the machine's own files.
unsigned cgroup_processors(FileSystem& file_system, const std::string& root);

}  // namespace pageserver::storage
