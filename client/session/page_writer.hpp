// How written pages get from the cache to the daemon.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "client/session/page_part.hpp"
#include "client/session/page_transfers.hpp"
#include "client/session/plain_session.hpp"

namespace pageserver::client {

/// Two ways to write. Through (a writer with publish on_write): the daemon is told first, then the pages. Back
/// (on_flush, and a fork): the pages are told at once, and the daemon when the transaction is flushed, when room is
/// needed, or when whole pages are written one after the other. What the daemon was told then is private there, so
/// that a flush still publishes all or nothing.
///
/// What goes out of a page is the difference from how it was (`base`), so that a flush sends bytes and not pages. A
/// page that was written without having been read has no base: all that is known of it goes out.
///
/// Threads: one at a time.
class PageWriter {
public:
  /// `ahead_max`: how many transfers may be under way when one more page is sent ahead of a flush.
  PageWriter(PlainSession& plain, PageCache& cache, PageTransfers& transfers, std::size_t ahead_max)
      : plain_{plain}, cache_{cache}, transfers_{transfers}, ahead_max_{ahead_max} {}
  PageWriter(const PageWriter&) = delete;
  PageWriter& operator=(const PageWriter&) = delete;

  /// Sends, as one write, from the first byte that differs from the cache to the last.
  void write_through(std::uint64_t offset, std::span<const std::byte> data);
  /// Writes a part into its page. False, and nothing is written, when the part does not adjoin what is known of the
  /// page: its rest has to be read first.
  bool write_back(const PagePart& part, const std::byte* data);
  /// Makes room for `buffers` more buffers of a page, by dropping clean pages other than `keep`, and by sending dirty
  /// ones where that is not enough. A CachedPage* other than `keep` may be gone after it.
  void make_room(std::size_t buffers, const CachedPage* keep);

  /// A commit that goes out with the changes before it, in one round trip.
  struct Commit {
    bool sent = false;  // there were changes to send with it, or under way
    std::optional<MemoryError> error;
  };
  /// Sends grown pages and the differences of `pages`, and waits. After an error, what the daemon did not take is sent
  /// again later, and `commit` says nothing of it: the daemon publishes nothing behind a change that it refused.
  void send(const std::vector<CachedPage*>& pages, Commit* commit = nullptr);
  void send_all() { send(cache_.dirty()); }
  /// Sends grown pages alone, if there are any.
  void send_grown();

private:
  struct Sending {
    CachedPage* page;
    std::vector<PageRange> ranges;
    std::size_t left;
  };
  void begin_page(const PagePart& part, const std::byte* data);
  void send_before(std::uint64_t page);
  void submit(Connection& connection, Batch& batch, std::vector<Sending>& sendings, Commit* commit);
  void submit_ranges(Connection& connection, Batch& batch, Sending& sending);

  PlainSession& plain_;
  PageCache& cache_;
  PageTransfers& transfers_;
  const std::size_t ahead_max_;
  std::uint64_t last_whole_ = ~std::uint64_t{0};  // the page last written to its end, not having been read
};

}  // namespace pageserver::client
