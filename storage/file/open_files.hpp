// How many descriptors this process may have, and how many it has.
#pragma once

#include <cstdint>

namespace pageserver::storage {

/// How many descriptors this process may have open; the largest number where there is no limit.
std::uint64_t open_files_limit() noexcept;
/// How many it has open; open_files_limit() when not one more can be had to count them; 0 where the system does not
/// say.
std::uint64_t open_files_now() noexcept;

}  // namespace pageserver::storage
