// What lies where in the memory of a ring. proto/PROTOCOL.md has the same as a table, and changes with it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace pageserver::ring {

using Index = std::atomic<std::uint64_t>;
using Sleeps = std::atomic<std::uint32_t>;
static_assert(Index::is_always_lock_free && sizeof(Index) == 8, "two processes share it");
static_assert(Sleeps::is_always_lock_free && sizeof(Sleeps) == 4, "two processes share it");

/// Bits of Sleeps: what one end waits for at the socket.
inline constexpr std::uint32_t sleeps_for_bytes = 1;
inline constexpr std::uint32_t sleeps_for_room = 2;

inline constexpr std::size_t line_bytes = 64;

/// What one end writes and the other reads lies in cache lines of its own. Indices count bytes from 0 and never go
/// back: where a byte lies is its index modulo the size of its direction.
struct Header {
  alignas(line_bytes) Index requests_written;  ///< by the client
  alignas(line_bytes) Index requests_read;     ///< by the server
  alignas(line_bytes) Index answers_written;   ///< by the server
  alignas(line_bytes) Index answers_read;      ///< by the client
  alignas(line_bytes) Sleeps client_sleeps;    ///< set by the client, cleared by either
  alignas(line_bytes) Sleeps server_sleeps;    ///< set by the server, cleared by either
};
static_assert(sizeof(Header) == 6 * line_bytes && offsetof(Header, server_sleeps) == 5 * line_bytes);

/// Before the bytes of the requests; those of the answers follow them.
inline constexpr std::size_t header_bytes = 4096;

/// What one direction may have: a power of two.
inline constexpr std::uint32_t direction_bytes_min = 64u << 10;
inline constexpr std::uint32_t direction_bytes_max = 1u << 20;

constexpr bool is_direction_bytes(std::uint64_t bytes) noexcept {
  return bytes >= direction_bytes_min && bytes <= direction_bytes_max && (bytes & (bytes - 1)) == 0;
}
/// Of all of the memory.
constexpr std::uint64_t memory_bytes(std::uint64_t direction_bytes) noexcept {
  return header_bytes + 2 * direction_bytes;
}

}  // namespace pageserver::ring
