// Random numbers of the system, which nobody can foretell.
#pragma once

#include <cstdint>
#include <random>

namespace pageserver::base {

/// Throws std::system_error where the system has none.
inline std::uint64_t random_number() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace pageserver::base
