// What differs between two states of a page. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pageserver::client {

/// `length` bytes from byte `begin` of a page.
struct PageRange {
  std::size_t begin = 0;
  std::size_t length = 0;
  friend bool operator==(const PageRange&, const PageRange&) = default;
};

/// Where `now` differs from `before` (both of the same length), in rising order. Two ranges are one where
/// the gap between them costs less than a request of its own; there are at most `ranges_max`, larger gaps being closed
/// until then. An empty `before` stands for zeros.
std::vector<PageRange> differing_ranges(std::span<const std::byte> now, std::span<const std::byte> before,
                                        std::size_t ranges_max);

}  // namespace pageserver::client
