// How the pages of a cached session come in and go out.
//
// A page is absent, loading, clean, dirty or sending; the way between these is drawn in docs/architecture.md. Three
// rules hold it together:
//
// - All of it runs under `mutex_`, which stays locked while the daemon is waited for. What the daemon answers meanwhile
//   to an earlier request is a completion: it changes its own page, counts down `loads_`, and drops nothing.
// - A request has the address of its page's memory. A page that is loading is not dropped, and neither is one that is
//   sending, which does not change either: wait_for() waits for one of them, drain() for all.
// - A Page* lives until the next call that makes room, which drops clean pages only and keeps the one that it is told.
//
// What goes out is the difference from how the page was (`base`), so that a flush sends bytes and not pages. A page
// that was written without having been read has no base: all that is known of it goes out. It is read only where a read
// asks for more of it, or the next write does not adjoin.
#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "client/session/cached_session.hpp"

namespace pageserver::client {
namespace {

// Zeros shorter than this go out as bytes: a request of their own would cost as much.
constexpr std::size_t zeros_min = 4096;

}  // namespace

void CachedSession::read_cached(std::uint64_t offset, std::span<std::byte> buffer) {
  if (buffer.empty()) return;
  const auto first = offset / page_size;
  const auto last = (offset + buffer.size() - 1) / page_size;
  const std::size_t fetched = first != last ? fetch(first, last) : 0;
  std::size_t found = 0;
  while (!buffer.empty()) {
    const auto piece = piece_at(offset, buffer.size());
    Page* page = cache_.find(piece.page);
    if (page != nullptr && !page->loading && page->knows(piece.begin, piece.length))
      ++found;
    else
      page = &bring(piece.page);
    std::memcpy(buffer.data(), page->bytes.get() + piece.begin, piece.length);
    offset += piece.length;
    buffer = buffer.subspan(piece.length);
  }
  counted_.cache_hits += found - std::min(found, fetched);
  read_ahead(last);
}

// More than the cache should take in for one call: straight to the caller, and what is here over it.
void CachedSession::read_past_cache(std::uint64_t offset, std::span<std::byte> buffer) {
  shared_.run([&](Connection& connection, Batch& batch) {
    std::uint64_t at = offset;
    auto rest = buffer;
    auto missing = buffer.first(0);  // the pages in a row that have to be asked for
    const auto submit = [&] {
      if (missing.empty()) return;
      submit_reads(connection, batch, at - missing.size(), missing);
      missing = {};
    };
    while (!rest.empty()) {
      const auto piece = piece_at(at, rest.size());
      const Page* const page = cache_.peek(piece.page);
      const bool unsent = piece.page >= sent_pages();
      if (unsent || (page != nullptr && !page->loading && page->knows(piece.begin, piece.length))) {
        submit();
        if (page == nullptr) std::memset(rest.data(), 0, piece.length);
      } else {
        missing = {missing.empty() ? rest.data() : missing.data(), missing.size() + piece.length};
      }
      at += piece.length;
      rest = rest.subspan(piece.length);
    }
    submit();
  });
  cache_.each_in(offset, buffer.size(), [&](const Page& page) {
    if (page.loading) return;
    const auto at = page.number * page_size;
    const auto begin = std::max(at + page.known_begin, offset);
    const auto end = std::min(at + page.known_end, offset + buffer.size());
    if (begin < end)
      std::memcpy(buffer.data() + (begin - offset), page.bytes.get() + (begin - at),
                  static_cast<std::size_t>(end - begin));
  });
}

CachedSession::Page& CachedSession::bring(std::uint64_t number) {
  Page* page = cache_.find(number);
  if (page != nullptr && page->loading) wait_for(*page);
  if (page == nullptr || !page->is_complete()) fetch(number, number);
  page = cache_.find(number);
  assert(page != nullptr && page->is_complete());
  return *page;
}

std::vector<CachedSession::Page*> CachedSession::make_loadable(std::uint64_t first, std::uint64_t last) {
  std::vector<Page*> wanted;
  wanted.reserve(static_cast<std::size_t>(last - first + 1));
  // Marked as loading at once, so that making room for the next one leaves it here.
  try {
    for (auto number = first; number <= last; ++number) {
      Page* page = cache_.find(number);
      if (page != nullptr && (page->loading || page->is_complete())) continue;
      make_room(1, page);
      if (page == nullptr) page = &cache_.add(number);
      if (number >= sent_pages()) {
        std::memset(page->bytes.get(), 0, Page::size);
        continue;
      }
      if (page->dirty)
        cache_.add_base(*page);
      else
        page->known_begin = page->known_end = 0;
      page->loading = true;
      wanted.push_back(page);
    }
  } catch (...) {
    for (auto* const page : wanted) {
      page->loading = false;
      cache_.forget_base(*page);
    }
    throw;
  }
  return wanted;
}

std::size_t CachedSession::fetch(std::uint64_t first, std::uint64_t last) {
  const auto wanted = make_loadable(first, last);
  if (wanted.empty()) return 0;
  for (auto* const page : wanted) page->loading = false;
  counted_.cache_misses += wanted.size();
  try {
    shared_.run([&](Connection& connection, Batch& batch) {
      for (auto* const page : wanted) {
        submit_load(connection, *page, &batch);
        batch.add();
      }
    });
  } catch (...) {
    // Those that were not even asked for.
    for (auto* const page : wanted)
      if (!page->is_complete()) cache_.forget_base(*page);
    throw;
  }
  return wanted.size();
}

void CachedSession::submit_load(Connection& connection, Page& page, Batch* waiter) {
  const std::span<std::byte> into = page.dirty ? std::span{page.base.get(), Page::size} : page.all();
  connection.submit_read(page.number * page_size, into,
                         [this, &page](const auto& outcome) { end_load(page, outcome.error()); });
  page.loading = true;
  page.waiter = waiter;
  ++loads_;
}

void CachedSession::end_load(Page& page, const MemoryError* error) noexcept {
  page.loading = false;
  --loads_;
  if (page.dirty) {
    if (error == nullptr)
      page.complete_from_base();
    else
      cache_.forget_base(page);
  } else if (error == nullptr) {
    page.known_begin = 0;
    page.known_end = Page::size;
  }
  if (page.waiter != nullptr) page.waiter->finish(error);
  page.waiter = nullptr;
  if (drain_ != nullptr) drain_->finish(nullptr);
}

void CachedSession::wait_for(Page& page) {
  shared_.run([&](Connection&, Batch& batch) {
    page.waiter = &batch;
    batch.add();
  });
}

void CachedSession::drain() noexcept {
  if (loads_ == 0) return;
  shared_.run([&](Connection&, Batch& batch) {
    for (std::size_t i = 0; i < loads_; ++i) batch.add();
    drain_ = &batch;
  });
  drain_ = nullptr;
}

void CachedSession::read_ahead(std::uint64_t page) {
  if (page == last_read_) return;
  forward_ = page == last_read_ + 1 ? forward_ + 1 : 0;
  last_read_ = page;
  if (forward_ == 0) ahead_until_ = 0;
  if (forward_ < 2 || chunk_pages_ < 2) return;
  // More is asked for when half of the last is left.
  const auto window = ahead_window();
  if (ahead_until_ > page + 1 + window / 2) return;
  const auto from = std::max(ahead_until_, page + 1);
  const auto until = std::min(page + 1 + window, sent_pages());
  shared_.run([&](Connection& connection, Batch&) {
    for (auto number = from; number < until; ++number) {
      if (cache_.peek(number) != nullptr) continue;
      // Not worth the sending of pages, and never to the cost of what was read last.
      if (loads_ >= window || !cache_.make_room(1, cache_.peek(page))) break;
      Page& next = cache_.add(number);
      next.known_begin = next.known_end = 0;
      submit_load(connection, next, nullptr);
      ++counted_.pages_read_ahead;
    }
    connection.send_now();
  });
  ahead_until_ = std::max(until, from);
}

// Nobody receives while the program thinks: what was asked for then waits in the sockets, which surely hold two pages,
// and at the daemon, which gives up a session that takes nothing. More is asked for only of those who read on and on,
// and never more than half of what the daemon holds for a session.
std::uint64_t CachedSession::ahead_window() {
  constexpr std::uint64_t surely = 2;
  const std::uint64_t held = shared_.connection().server().buffered_bytes_max / 2 / page_size;
  return std::clamp<std::uint64_t>(forward_ / 4, surely, std::max(surely, std::min<std::uint64_t>(chunk_pages_, held)));
}

void CachedSession::write_through(std::uint64_t offset, std::span<const std::byte> data) {
  // From the first byte to the last that differs, in one piece: a write is atomic.
  std::size_t begin = data.size();
  std::size_t end = 0;
  for (std::size_t at = 0; at < data.size();) {
    const auto piece = piece_at(offset + at, data.size() - at);
    Page* const page = cache_.find(piece.page);
    if (page != nullptr && page->loading) wait_for(*page);
    const auto part = data.subspan(at, piece.length);
    if (page == nullptr || !page->is_complete()) {
      begin = std::min(begin, at);
      end = at + piece.length;
    } else if (std::memcmp(part.data(), page->bytes.get() + piece.begin, piece.length) != 0) {
      const std::span<const std::byte> held{page->bytes.get() + piece.begin, piece.length};
      const auto first = std::mismatch(part.begin(), part.end(), held.begin()).first - part.begin();
      const auto last = std::mismatch(part.rbegin(), part.rend(), held.rbegin()).first - part.rbegin();
      begin = std::min(begin, at + static_cast<std::size_t>(first));
      end = at + piece.length - static_cast<std::size_t>(last);
    }
    at += piece.length;
  }
  if (begin >= end) return;
  try {
    RemoteSession::write(offset + begin, data.subspan(begin, end - begin));
  } catch (...) {
    cache_.drop_range(offset, data.size());
    throw;
  }
  for (std::size_t at = 0; at < data.size();) {
    const auto piece = piece_at(offset + at, data.size() - at);
    Page* page = cache_.peek(piece.page);
    if (page == nullptr && piece.length == Page::size && cache_.make_room(1, nullptr)) page = &cache_.add(piece.page);
    if (page != nullptr) std::memcpy(page->bytes.get() + piece.begin, data.data() + at, piece.length);
    at += piece.length;
  }
}

void CachedSession::write_back(const Piece& piece, const std::byte* data) {
  Page* page = cache_.find(piece.page);
  if (page != nullptr && (page->loading || page->sending)) wait_for(*page);
  if (page != nullptr && !page->dirty && !page->is_complete()) {
    // A read ahead that failed.
    cache_.drop(piece.page);
    page = nullptr;
  }
  if (page == nullptr) return begin_page(piece, data);
  const auto end = piece.begin + piece.length;
  if (!page->dirty) {
    if (std::memcmp(page->bytes.get() + piece.begin, data, piece.length) == 0) return;
    if (piece.page >= sent_pages()) {
      page->dirty = page->base_is_zero = true;
    } else {
      make_room(1, page);
      cache_.keep_as_it_was(*page);
    }
  } else if (!page->is_complete() && piece.length < Page::size &&
             (piece.begin > page->known_end || end < page->known_begin)) {
    (void)bring(piece.page);
  }
  std::memcpy(page->bytes.get() + piece.begin, data, piece.length);
  page->known_begin = std::min(page->known_begin, piece.begin);
  page->known_end = std::max(page->known_end, end);
  if (end == Page::size && page->is_complete() && !page->has_before()) last_whole_ = piece.page;
}

void CachedSession::begin_page(const Piece& piece, const std::byte* data) {
  if (piece.begin == 0) send_before(piece.page);
  make_room(1, nullptr);
  Page& page = cache_.add(piece.page);
  page.dirty = true;
  if (piece.page >= sent_pages()) {
    page.base_is_zero = true;
    if (piece.length < Page::size) std::memset(page.bytes.get(), 0, Page::size);
  } else {
    page.known_begin = piece.begin;
    page.known_end = piece.begin + piece.length;
  }
  std::memcpy(page.bytes.get() + piece.begin, data, piece.length);
  if (piece.length == Page::size && !page.has_before()) last_whole_ = piece.page;
}

void CachedSession::send_before(std::uint64_t number) {
  if (number == 0 || std::exchange(last_whole_, ~std::uint64_t{0}) != number - 1 || loads_ >= chunk_pages_) return;
  Page* const page = cache_.peek(number - 1);
  const bool whole = page != nullptr && page->dirty && page->is_complete() && !page->has_before();
  if (!whole || page->loading || page->sending || is_zero(page->all())) return;
  shared_.run([&](Connection& connection, Batch& batch) {
    connection.submit_write(page->number * page_size, page->all(),
                            [this, page](const auto& outcome) { end_send(*page, outcome.error()); });
    page->sending = true;
    ++loads_;
    connection.send_now();
    if (!connection.has_unsent()) return;
    // The rest of it must not wait until the program comes back: the daemon gives up who stops within a frame.
    page->waiter = &batch;
    batch.add();
  });
}

// After an error it is dirty as before, and goes out again.
void CachedSession::end_send(Page& page, const MemoryError* error) noexcept {
  page.sending = false;
  --loads_;
  if (error == nullptr) cache_.settle(page);
  if (page.waiter != nullptr) page.waiter->finish(nullptr);
  page.waiter = nullptr;
  if (drain_ != nullptr) drain_->finish(nullptr);
}

void CachedSession::make_room(std::size_t buffers, const Page* keep) {
  while (!cache_.make_room(buffers, keep)) {
    const auto pages = cache_.dirty_to_send(keep);
    if (!pages.empty())
      send(pages);
    else
      drain();
  }
}

void CachedSession::send(const std::vector<Page*>& pages, Commit* commit) {
  std::vector<Sending> sendings;
  sendings.reserve(pages.size());
  // A commit also tells of the pages that were sent ahead.
  bool anything = unsent_pages_ > 0 || (commit != nullptr && loads_ > 0);
  for (auto* const page : pages) {
    auto ranges = page->unsent();
    anything = anything || !ranges.empty();
    const auto left = ranges.size();
    sendings.push_back({page, std::move(ranges), left});
  }
  std::exception_ptr failed;
  if (anything) {
    try {
      shared_.run([&](Connection& connection, Batch& batch) {
        if (const auto grown = unsent_pages_; grown > 0) {
          connection.submit(proto::GrowRequest{grown}, [this, &batch, grown](const auto& outcome) {
            if (outcome.ok()) unsent_pages_ -= grown;
            batch.finish(outcome.error());
          });
          batch.add();
        }
        for (auto& sending : sendings) submit_ranges(connection, batch, sending);
        if (commit == nullptr) return;
        connection.submit(proto::CommitRequest{}, [&batch, commit](const auto& outcome) {
          if (!outcome.ok()) commit->error = *outcome.error();
          batch.finish(nullptr);
        });
        batch.add();
        commit->sent = true;
      });
    } catch (...) {
      failed = std::current_exception();
    }
  }
  for (const auto& sending : sendings) {
    if (sending.left == 0) {
      cache_.settle(*sending.page);
    } else if (sending.left < sending.ranges.size()) {
      // Neither as it was nor as it is: from now on all of it has to be sent.
      cache_.forget_base(*sending.page);
    }
  }
  if (failed) std::rethrow_exception(failed);
}

void CachedSession::submit_ranges(Connection& connection, Batch& batch, Sending& sending) {
  const Page& page = *sending.page;
  const bool zeros = (connection.server().features & proto::feature_zero) != 0;
  for (const auto& range : sending.ranges) {
    const auto offset = page.number * page_size + range.begin;
    const auto bytes = page.all().subspan(range.begin, range.length);
    const auto done = [&batch, &sending](const auto& outcome) {
      if (outcome.ok()) --sending.left;
      batch.finish(outcome.error());
    };
    if (zeros && range.length >= zeros_min && is_zero(bytes))
      connection.submit(proto::ZeroRequest{offset, range.length}, done);
    else
      connection.submit_write(offset, bytes, done);
    batch.add();
  }
}

}  // namespace pageserver::client
