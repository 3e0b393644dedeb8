// How much memory there is to use: a container's limit ends the process that passes it.
#pragma once

#include <cstdint>
#include <string>

#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// The least limit in bytes of the control groups that this process is in (cgroup v1 or v2, with those above), as
/// /proc/self/cgroup under `root` names them; 0 where there is none. `root` is empty for the machine's own files.
std::uint64_t cgroup_memory_bytes(FileSystem& file_system, const std::string& root);

/// What the machine has, 0 where it does not say.
std::uint64_t machine_memory_bytes() noexcept;

}  // namespace pageserver::storage
