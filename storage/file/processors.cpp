#include "storage/file/processors.hpp"

#include <sched.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <thread>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {
namespace {

constexpr std::string_view groups_folder = "/sys/fs/cgroup";

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

bool names_cpu(const std::string& controllers) {
  std::istringstream names{controllers};
  for (std::string name; std::getline(names, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

unsigned cgroup_processors(FileSystem& file_system, const std::string& root) {
  unsigned least = 0;
  const auto note = [&](unsigned quota) {
    if (quota != 0) least = least == 0 ? quota : std::min(least, quota);
  };
  // `7:cpu,cpuacct:/path` (v1), `0::/path` (v2). Inside a container the path may be the host's, and the container's own
  // group is what is mounted: the walk up to the top finds it in any case.
  std::istringstream lines{text_of_file(file_system, root + "/proc/self/cgroup")};
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !names_cpu(controllers)) continue;
    const std::string top = root + std::string{groups_folder} + (v2 ? "" : "/cpu");
    std::string path = line.substr(second + 1);
    for (;;) {
      if (path == "/") path.clear();
      note(v2 ? quota_v2(file_system, top + path) : quota_v1(file_system, top + path));
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return least;
}

unsigned usable_processors() {
  unsigned count = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // Fails on machines with more processors than the mask has bits: those have enough.
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
    count = static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
  const unsigned quota = cgroup_processors(posix_file_system(), "");
  return quota == 0 ? count : std::min(count, quota);
}

}  // namespace pageserver::storage
