// What a session knows of its image without asking the daemon.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <pageserver/session.hpp>

#include "proto/codec.hpp"

namespace pageserver::client {

/// What no answer can say of an image's pages: their bytes would have no number. `what` is such as "open answer".
inline proto::Decoded check_pages(std::string_view what, std::uint64_t pages) {
  constexpr std::uint64_t pages_max = ~std::uint64_t{0} / page_size;
  if (pages <= pages_max) return {};
  return proto::Fault{proto::Status::protocol_error, std::string{what} + " has pages=" + std::to_string(pages) +
                                                         ", at most " + std::to_string(pages_max)};
}

/// Only a writer, a fork and a pinned reader know their pages: nobody else changes them. A flush that failed leaves
/// them open to question, since the daemon may have published the grown pages or dropped them.
struct KnownImage {
  bool pages_known = false;
  std::uint64_t pages = 0;         // as the session sees them
  std::uint64_t unsent_pages = 0;  // of them, the last, which the daemon was not told of: only a cache keeps some back
  std::uint64_t size_bytes_max = 0;
  Version held;  // the version that a pin or a fork holds
  // Requests under way that change `pages`, and whether there was more than one since there was none: what each of them
  // has to answer can be told of one alone.
  std::size_t resizing = 0;
  bool resizing_together = false;

  void begin_resize() { resizing_together = resizing++ > 0 || resizing_together; }
  void end_resize() {
    if (--resizing == 0) resizing_together = false;
  }
  bool can_tell() const { return pages_known && !resizing_together; }

  std::uint64_t sent_pages() const { return pages - unsent_pages; }
};

}  // namespace pageserver::client
