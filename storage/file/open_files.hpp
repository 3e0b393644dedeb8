// Descriptors of this process: how many it may have, and how many it has.
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// How many descriptors this process may have open; the largest number where there is no limit.
std::uint64_t open_files_limit() noexcept;
/// How many it has open, which are all when not one more may be had; 0 where the system does not say.
std::uint64_t open_files_now() noexcept;

}  // namespace pageserver::storage
