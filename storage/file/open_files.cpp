#include "storage/file/open_files.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace pageserver::storage {

std::uint64_t open_files_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~0ull;
  return limit.rlim_cur;
}

std::uint64_t open_files_now() noexcept {
  // Since Linux 6.2 the folder's size is their number. To list thousands of them takes milliseconds.
  struct stat status {};
  if (::stat("/proc/self/fd", &status) == 0 && status.st_size > 0) return static_cast<std::uint64_t>(status.st_size);
  const std::unique_ptr<DIR, int (*)(DIR*)> folder{::opendir("/proc/self/fd"), &::closedir};
  // To count them takes one more: where there is none left, all are open.
  if (!folder) return errno == EMFILE ? open_files_limit() : 0;
  std::uint64_t count = 0;
  while (::readdir(folder.get()) != nullptr) ++count;
  constexpr std::uint64_t not_counted = 3;  // ".", ".." and the folder itself
  return count - std::min(count, not_counted);
}

}  // namespace pageserver::storage
