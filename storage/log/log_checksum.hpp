// The checksum of the log: XXH3-64 with seed 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pageserver::storage {

std::uint64_t log_checksum(std::span<const std::byte> bytes) noexcept;

/// The same of bytes that come in parts. The constructor throws std::bad_alloc.
class LogChecksum {
public:
  LogChecksum();
  LogChecksum(const LogChecksum&) = delete;
  LogChecksum& operator=(const LogChecksum&) = delete;
  ~LogChecksum();
  void add(std::span<const std::byte> bytes) noexcept;
  std::uint64_t value() const noexcept;

private:
  void* state_;
};

}  // namespace pageserver::storage
