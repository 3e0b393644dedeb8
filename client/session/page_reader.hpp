// How pages get from the daemon into the cache, and bytes from there to the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "client/session/page_part.hpp"
#include "client/session/page_transfers.hpp"
#include "client/session/page_writer.hpp"
#include "client/session/plain_session.hpp"
#include "client/session/read_ahead.hpp"

namespace pageserver::client {

/// A read copies the pages that are here and fetches the others, all in one round trip. A page that was written without
/// having been read is fetched only when a read asks for more of it than is known. A read of more pages than a quarter
/// of the cache, or than 16, goes past it: straight to the caller, and over it what is here and not sent.
///
/// Threads: one at a time.
class PageReader {
public:
  /// `chunk_pages`: how many pages one call brings in, or is asked for ahead, at most.
  PageReader(PlainSession& plain, PageCache& cache, PageTransfers& transfers, PageWriter& writer,
             std::size_t chunk_pages)
      : plain_{plain},
        cache_{cache},
        transfers_{transfers},
        writer_{writer},
        chunk_pages_{chunk_pages},
        ahead_{chunk_pages} {}
  PageReader(const PageReader&) = delete;
  PageReader& operator=(const PageReader&) = delete;

  /// Within bounds.
  void read(std::uint64_t offset, std::span<std::byte> buffer);
  /// The page, complete. It stays until the next call that makes room.
  CachedPage& bring(std::uint64_t number);
  /// What was read ahead may have been dropped.
  void forget_ahead() { ahead_.forget(); }

  struct Counters {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t read_ahead = 0;
  };
  const Counters& counters() const { return counters_; }

private:
  void read_cached(std::uint64_t offset, std::span<std::byte> buffer);
  void read_past_cache(std::uint64_t offset, std::span<std::byte> buffer);
  /// Fetches those pages of [first, last] that are not here, in one round trip. Returns how many.
  std::size_t fetch(std::uint64_t first, std::uint64_t last);
  std::vector<CachedPage*> make_loadable(std::uint64_t first, std::uint64_t last);
  void read_ahead(std::uint64_t page);

  PlainSession& plain_;
  PageCache& cache_;
  PageTransfers& transfers_;
  PageWriter& writer_;
  const std::size_t chunk_pages_;
  ReadAhead ahead_;
  Counters counters_;
};

}  // namespace pageserver::client
