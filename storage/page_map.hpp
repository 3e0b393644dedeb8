// What a store knows of its pages, a few of them together: for people who look at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <pageserver/session.hpp>

namespace pageserver::storage {

struct PageMapRequest {
  std::uint64_t first_page = 0;
  std::uint64_t pages_per_tile = 1;  ///< at least 1
  std::size_t tiles_max = 1;
  std::uint64_t since_version = 0;  ///< what a later version wrote is recent
};

/// So many of a tile's pages.
struct PageTile {
  std::uint64_t pages = 0;   ///< all of them
  std::uint64_t data = 0;    ///< may hold something other than zeros, in the newest version
  std::uint64_t logged = 0;  ///< have bytes that are not in the image yet
  std::uint64_t held = 0;    ///< have older bytes, which are kept for pins and forks
  std::uint64_t recent = 0;  ///< written since
};

struct PageMap {
  std::uint64_t pages = 0;      ///< of the store
  std::uint64_t next_page = 0;  ///< where to go on; `pages` and no less: that was all
  Version version;              ///< the newest when it began
  std::vector<PageTile> tiles;  ///< adjoining ones; the last one of a store may have fewer pages
};

}  // namespace pageserver::storage
