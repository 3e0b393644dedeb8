#include "storage/file/file_size_limit.hpp"

#include <sys/resource.h>

namespace pageserver::storage {

std::uint64_t file_size_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return ~0ull;
  return limit.rlim_cur;
}

}  // namespace pageserver::storage
