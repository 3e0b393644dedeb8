#include "storage/lock_holder.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <sstream>

#include "storage/file_io.hpp"

namespace pageserver::storage {
namespace {

/// The whole of a file under /proc, which has no size; empty when it can't be read.
std::string proc_text(FileSystem& file_system, const std::string& path) {
  const auto opened = retried([&] { return file_system.open(path, O_RDONLY, 0); });
  if (!opened.ok()) return {};
  const File file{file_system, static_cast<int>(opened.value), path};
  std::string text;
  std::array<std::byte, 4096> buffer{};
  for (;;) {
    std::size_t done = 0;
    if (!read_fully(file_system, file.descriptor(), text.size(), buffer, done).ok() || done == 0) return text;
    text.append(reinterpret_cast<const char*>(buffer.data()), done);
  }
}

/// `1: FLOCK  ADVISORY  WRITE 4711 08:02:131074 0 EOF`: the process, when the line is about this file. A line with "->"
/// is somebody who waits.
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
  std::istringstream lines{proc_text(file_system, "/proc/locks")};
  for (std::string line; std::getline(lines, line);) {
    const auto process = holder_in(line, identity);
    if (!process) continue;
    if (*process == ::getpid()) return "this process itself (" + std::to_string(*process) + ")";
    auto command = proc_text(file_system, "/proc/" + std::to_string(*process) + "/comm");
    while (!command.empty() && command.back() == '\n') command.pop_back();
    auto text = "process " + std::to_string(*process);
    return command.empty() ? text : text + " (" + command + ")";
  }
  return "another process, not visible from here";
}

}  // namespace pageserver::storage
