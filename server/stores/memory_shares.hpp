// What limits.memory_bytes gives to each kind of thing that peers make the daemon keep in memory. None can take what
// another one has; the order in which they refuse is told in docs/operations.md.
#pragma once

#include <cstdint>
#include <string>

#include "base/memory_share.hpp"
#include "server/config/config.hpp"

namespace pageserver::server {

struct MemoryShares {
  /// By limits.memory_bytes, or where that is 0, by three quarters of what the control group allows, else half of what
  /// the machine has.
  explicit MemoryShares(const Limits& limits);

  const std::uint64_t bytes;
  const std::string name;  ///< "limits.memory_bytes=1073741824"
  base::MemoryShare buffers;
  base::MemoryShare private_bytes;
  base::MemoryShare index;
  base::MemoryShare tls;                ///< of connections that said hello over TLS
  base::MemoryShare home;               ///< what was read of images in pools
  const std::uint64_t handshake_bytes;  ///< for TLS connections that did not yet
};

/// Gives back to the system what is free in this process's heaps, where its memory without mapped files is more than
/// three quarters of `bytes`: what was freed among what is in use stays else. Any thread; may take some milliseconds.
void trim_memory(std::uint64_t bytes) noexcept;

}  // namespace pageserver::server
