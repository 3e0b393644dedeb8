#include "server/runtime/open_files.hpp"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

namespace pageserver::server {

std::uint64_t open_files_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~0ull;
  return limit.rlim_cur;
}

std::uint64_t open_files_now() noexcept {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder{::opendir("/proc/self/fd"), &::closedir};
  if (!folder) return 0;
  std::uint64_t count = 0;
  while (::readdir(folder.get()) != nullptr) ++count;
  constexpr std::uint64_t not_counted = 3;  // ".", ".." and the folder itself
  return count - std::min(count, not_counted);
}

std::uint64_t OpenFilesBudget::kept_for(std::uint64_t stores) const noexcept {
  // Where the limit is too low for both, neither gets all.
  return std::min(stores * store_files_, limit_ / 2);
}

std::uint64_t OpenFilesBudget::connections_max(std::uint64_t stores) const noexcept {
  constexpr std::uint64_t files_of_connection = 2;  // its socket, and what it writes in private when that is much
  const std::uint64_t taken = others_ + kept_for(stores);
  return std::max((limit_ - std::min(limit_, taken)) / files_of_connection, limit_ / 8);
}

}  // namespace pageserver::server
