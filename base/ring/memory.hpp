// The memory of a ring: made and sealed by the client, checked and mapped by the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/unique_fd.hpp"

namespace pageserver::ring {

/// A mapping that it owns.
class Memory {
public:
  Memory() = default;
  Memory(std::byte* start, std::size_t bytes) noexcept : start_(start), bytes_(bytes) {}
  Memory(Memory&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    Memory old(std::move(*this));
    start_ = std::exchange(other.start_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~Memory();

  explicit operator bool() const noexcept { return start_ != nullptr; }
  std::byte* start() const noexcept { return start_; }
  std::size_t bytes() const noexcept { return bytes_; }

private:
  std::byte* start_ = nullptr;
  std::size_t bytes_ = 0;
};

struct MadeMemory {
  Memory memory;
  UniqueFd descriptor;  ///< for the other end; not needed any more once that has it
};

/// New memory with `direction_bytes` for each direction, all of it there and zero, sealed. Where the system has none to
/// give, `memory` is false, and errno says why.
MadeMemory make_memory(std::uint32_t direction_bytes) noexcept;

/// Maps what another process has made; the descriptor stays the caller's. Where that is not memory that can neither
/// shrink nor grow, of exactly the size that `direction_bytes` asks for, `fault` says what is wrong, and nothing is
/// mapped. So no access to it ends in a signal. Throws std::bad_alloc.
Memory map_memory(int descriptor, std::uint32_t direction_bytes, std::string& fault);

}  // namespace pageserver::ring
