// What a session knows of its image without asking the daemon.
#pragma once

#include <cstdint>

#include <pageserver/session.hpp>

namespace pageserver::client {

/// Only a writer, a fork and a pinned reader know their pages: nobody else changes them. A flush that failed leaves
/// them open to question, since the daemon may have published the grown pages or dropped them.
struct KnownImage {
  bool pages_known = false;
  std::uint64_t pages = 0;         // as the session sees them
  std::uint64_t unsent_pages = 0;  // of them, the last, which the daemon was not told of: only a cache keeps some back
  std::uint64_t size_bytes_max = 0;
  Version held;  // the version that a pin or a fork holds

  std::uint64_t sent_pages() const { return pages - unsent_pages; }
};

}  // namespace pageserver::client
