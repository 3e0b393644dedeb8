#include "storage/file/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <thread>

#include "storage/file/control_group.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::storage {
namespace {

unsigned whole_processors(long long quota_us, long long period_us) {
  if (quota_us <= 0 || period_us <= 0) return 0;
  return static_cast<unsigned>(std::max(1ll, quota_us / period_us));
}

/// cgroup v2: "max 100000", "150000 100000".
unsigned quota_v2(FileSystem& file_system, const std::string& folder) {
  std::istringstream text{text_of_file(file_system, folder + "/cpu.max")};
  long long quota_us = 0, period_us = 0;
  return text >> quota_us >> period_us ? whole_processors(quota_us, period_us) : 0;
}

unsigned quota_v1(FileSystem& file_system, const std::string& folder) {
  std::istringstream quota{text_of_file(file_system, folder + "/cpu.cfs_quota_us")};
  std::istringstream period{text_of_file(file_system, folder + "/cpu.cfs_period_us")};
  long long quota_us = 0, period_us = 0;
  return quota >> quota_us && period >> period_us ? whole_processors(quota_us, period_us) : 0;
}

}  // namespace

unsigned cgroup_processors(FileSystem& file_system, const std::string& root) {
  unsigned least = 0;
  const auto note = [&](unsigned quota) {
    if (quota != 0) least = least == 0 ? quota : std::min(least, quota);
  };
  visit_control_groups(file_system, root, "cpu", [&](const std::string& folder, bool v2) {
    note(v2 ? quota_v2(file_system, folder) : quota_v1(file_system, folder));
  });
  return least;
}

unsigned usable_processors() {
  unsigned count = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // Fails on machines with more processors than the mask has bits, which have enough.
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    count = static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
  const unsigned quota = cgroup_processors(posix_file_system(), "");
  return quota == 0 ? count : std::min(count, quota);
}

}  // namespace pageserver::storage
