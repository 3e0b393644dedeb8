// In which process an object was made, told without a system call.
#pragma once

#include <cstdint>

namespace pageserver::client {

/// A number that is the same in all of one process and different in its children after fork(2). Thread-safe.
std::uint64_t process_mark() noexcept;

}  // namespace pageserver::client
