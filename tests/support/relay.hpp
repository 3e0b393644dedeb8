// Bytes from one socket to another: what a proxy of the tests does.
#pragma once

#include <cstdint>

namespace pageserver::test {

/// Passes on what is there, at most `limit` bytes. Returns how many; 0 when the connection is over.
std::uint64_t relay(int from, int to, std::uint64_t limit);

}  // namespace pageserver::test
