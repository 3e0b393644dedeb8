// The protocol of the least page server: a request is a header and a write's data; an answer is 4 bytes of errno and a
// read's data. In the machine's own byte order.
#pragma once

#include <cstdint>

namespace pageserver::bench {

struct LeastRequest {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t write = 0;  ///< 1: `length` bytes follow
};

inline constexpr std::uint32_t least_length_max = 1u << 20;

}  // namespace pageserver::bench
