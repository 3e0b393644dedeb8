#include "storage/file/lock_holder.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <sstream>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {
namespace {

/// Returns the process of a line such as `1: FLOCK  ADVISORY  WRITE 4711 08:02:131074 0 EOF` where that is about this
/// file. A line with "->" is of a process that waits for the lock.
std::optional<long> holder_in(const std::string& line, const std::string& identity) {
  std::istringstream words{line};
  std::string number, kind, mode, type, place;
  long process = 0;
  if (!(words >> number >> kind >> mode >> type >> process >> place)) return std::nullopt;
  if (kind != "FLOCK" || place != identity || process <= 0) return std::nullopt;
  return process;
}

}  // namespace

std::string lock_holder(FileSystem& file_system, const FileStatus& locked) {
  char identity[64];
  std::snprintf(identity, sizeof identity, "%02x:%02x:%llu", major(locked.device), minor(locked.device),
                static_cast<unsigned long long>(locked.inode));
  std::istringstream lines{text_of_file(file_system, "/proc/locks")};
  for (std::string line; std::getline(lines, line);) {
    const auto process = holder_in(line, identity);
    if (!process) continue;
    if (*process == ::getpid()) return "this process itself (" + std::to_string(*process) + ")";
    auto command = text_of_file(file_system, "/proc/" + std::to_string(*process) + "/comm");
    while (!command.empty() && command.back() == '\n') command.pop_back();
    auto text = "process " + std::to_string(*process);
    return command.empty() ? text : text + " (" + command + ")";
  }
  return "another process, not visible from here";
}

}  // namespace pageserver::storage
