// How large a file of this process may become (ulimit -f).
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// In bytes; the largest number where there is no limit.
std::uint64_t file_size_limit() noexcept;

}  // namespace pageserver::storage
