#include "storage/file/control_group.hpp"

#include <sstream>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {

namespace {

constexpr std::string_view groups_folder = "/sys/fs/cgroup";

bool names(const std::string& controllers, std::string_view controller) {
  std::istringstream list{controllers};
  for (std::string name; std::getline(list, name, ',');)
    if (name == controller) return true;
  return false;
}

}  // namespace

void visit_control_groups(FileSystem& file_system, const std::string& root, std::string_view controller,
                          const std::function<void(const std::string& folder, bool v2)>& see) {
  // `7:cpu,cpuacct:/path` (v1), `0::/path` (v2). Inside a container the path may be the host's, and the container's own
  // group is what is mounted: the walk up to the top finds it in any case.
  std::istringstream lines{text_of_file(file_system, root + "/proc/self/cgroup")};
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && !names(controllers, controller)) continue;
    const std::string top = root + std::string{groups_folder} + (v2 ? "" : "/" + std::string{controller});
    std::string path = line.substr(second + 1);
    for (;;) {
      if (path == "/") path.clear();
      see(top + path, v2);
      if (path.empty()) break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
}

}  // namespace pageserver::storage
