#include "storage/file/memory_limit.hpp"

#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "storage/file/control_group.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::storage {

namespace {

// cgroup v1 has no word for "no limit": it is the largest multiple of a page that fits.
constexpr std::uint64_t no_limit = 1ull << 60;

}  // namespace

std::uint64_t cgroup_memory_bytes(FileSystem& file_system, const std::string& root) {
  std::uint64_t least = 0;
  const auto note = [&](const std::string& path) {
    std::istringstream text{text_of_file(file_system, path)};
    std::uint64_t bytes = 0;  // stays 0 for "max"
    if (text >> bytes && bytes != 0 && bytes < no_limit) least = least == 0 ? bytes : std::min(least, bytes);
  };
  visit_control_groups(file_system, root, "memory", [&](const std::string& folder, bool v2) {
    if (!v2) return note(folder + "/memory.limit_in_bytes");
    note(folder + "/memory.max");
    note(folder + "/memory.high");
  });
  return least;
}

std::uint64_t machine_memory_bytes() noexcept {
  const long pages = ::sysconf(_SC_PHYS_PAGES), bytes = ::sysconf(_SC_PAGESIZE);
  return pages <= 0 || bytes <= 0 ? 0 : static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(bytes);
}

}  // namespace pageserver::storage
