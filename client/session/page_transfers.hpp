// Reads into cached pages, and whole pages sent ahead of a flush, that are under way.
#pragma once

#include <cstddef>

#include "client/session/page_cache.hpp"
#include "client/wire/shared_connection.hpp"

namespace pageserver::client {

/// A request has the address of its page's memory. So a page that is `loading` or `sending` stays in the cache until
/// the answer came, and one that is `sending` does not change. The answer is a completion: it changes its own page,
/// counts down, and drops nothing.
///
/// Threads: one at a time, waits included; completions then run within these calls.
class PageTransfers {
public:
  PageTransfers(SharedConnection& shared, PageCache& cache) : shared_{shared}, cache_{cache} {}
  PageTransfers(const PageTransfers&) = delete;
  PageTransfers& operator=(const PageTransfers&) = delete;

  /// How many are under way.
  std::size_t count() const { return count_; }

  /// Within SharedConnection::run(): asks for all of the page, into its base where it is dirty. `waiter` gets the
  /// outcome; null: nobody waits, and a read that failed leaves a clean page of which nothing is known.
  void load(Connection& connection, CachedPage& page, Batch* waiter);
  /// Sends all of the page. Waits only for the socket to take it. A page that the daemon did not take is dirty as
  /// before.
  void send_ahead(CachedPage& page);
  /// Waits until no request has the page. Throws the error of a read.
  void wait_for(CachedPage& page);
  /// Waits until nothing is under way. Errors are left to the pages.
  void drain() noexcept;

private:
  void end_load(CachedPage& page, const MemoryError* error) noexcept;
  void end_send(CachedPage& page, const MemoryError* error) noexcept;
  void end(CachedPage& page, const MemoryError* error) noexcept;

  SharedConnection& shared_;
  PageCache& cache_;
  std::size_t count_ = 0;
  Batch* drain_ = nullptr;  // waits for all of them
};

}  // namespace pageserver::client
