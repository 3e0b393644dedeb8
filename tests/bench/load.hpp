// The load generator: one loop for every server.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "tests/bench/target.hpp"

namespace pageserver::bench {

inline constexpr std::uint64_t image_bytes = 256ull << 20;

/// Requests of one size at random places of the image, aligned to their size.
struct Load {
  bool write = false;
  std::uint32_t bytes = 8;
  std::size_t depth = 1;  ///< requests in flight
  std::chrono::milliseconds duration{300};
  std::uint64_t seed = 1;
};

struct LoadResult {
  std::uint64_t requests = 0;
  double seconds = 0;
  double server_cpu_seconds = 0;

  double us_per_request() const { return seconds * 1e6 / static_cast<double>(requests); }
  double requests_per_second() const { return static_cast<double>(requests) / seconds; }
  double server_cpu_us_per_request() const { return server_cpu_seconds * 1e6 / static_cast<double>(requests); }
};

/// Keeps `depth` requests in flight for the duration, after a short time that is not counted. `server` is the process
/// whose CPU time is counted, 0 for none.
LoadResult run_load(Target& target, const Load& load, pid_t server = 0);

/// User and system time of a process so far, in seconds.
double cpu_seconds(pid_t process);

/// The byte at `offset` of the image that every server serves at the start.
std::byte image_byte(std::uint64_t offset);
/// Throws when what the server has at some places is not that.
void check_image(Target& target);

}  // namespace pageserver::bench
