#include "client/session/page_reader.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace pageserver::client {

void PageReader::read(std::uint64_t offset, std::span<std::byte> buffer) {
  if (buffer.empty()) return;
  const auto pages = (offset + buffer.size() - 1) / page_size - offset / page_size + 1;
  if (pages > chunk_pages_) return read_past_cache(offset, buffer);
  read_cached(offset, buffer);
}

void PageReader::read_cached(std::uint64_t offset, std::span<std::byte> buffer) {
  const auto first = offset / page_size;
  const auto last = (offset + buffer.size() - 1) / page_size;
  const std::size_t fetched = first != last ? fetch(first, last) : 0;
  std::size_t found = 0;
  while (!buffer.empty()) {
    const auto part = first_part(offset, buffer.size());
    CachedPage* page = cache_.find(part.page);
    if (page != nullptr && !page->loading && page->knows(part.begin, part.length))
      ++found;
    else
      page = &bring(part.page);
    std::memcpy(buffer.data(), page->bytes.get() + part.begin, part.length);
    offset += part.length;
    buffer = buffer.subspan(part.length);
  }
  counters_.hits += found - std::min(found, fetched);
  read_ahead(last);
}

// The missing bytes are received straight into the buffer, and the cached ones are copied over it.
void PageReader::read_past_cache(std::uint64_t offset, std::span<std::byte> buffer) {
  plain_.shared().run([&](Connection& connection, Batch& batch) {
    std::uint64_t at = offset;
    auto rest = buffer;
    auto missing = buffer.first(0);  // the pages in a row that have to be asked for
    const auto submit = [&] {
      if (missing.empty()) return;
      plain_.submit_reads(connection, batch, at - missing.size(), missing);
      missing = {};
    };
    while (!rest.empty()) {
      const auto part = first_part(at, rest.size());
      const CachedPage* const page = cache_.peek(part.page);
      const bool unsent = part.page >= plain_.known().sent_pages();
      if (unsent || (page != nullptr && !page->loading && page->knows(part.begin, part.length))) {
        submit();
        if (page == nullptr) std::memset(rest.data(), 0, part.length);
      } else {
        missing = {missing.empty() ? rest.data() : missing.data(), missing.size() + part.length};
      }
      at += part.length;
      rest = rest.subspan(part.length);
    }
    submit();
  });
  cache_.each_in(offset, buffer.size(), [&](const CachedPage& page) {
    if (page.loading) return;
    const auto at = page.number * page_size;
    const auto begin = std::max(at + page.known_begin, offset);
    const auto end = std::min(at + page.known_end, offset + buffer.size());
    if (begin < end)
      std::memcpy(buffer.data() + (begin - offset), page.bytes.get() + (begin - at),
                  static_cast<std::size_t>(end - begin));
  });
}

CachedPage& PageReader::bring(std::uint64_t number) {
  CachedPage* page = cache_.find(number);
  if (page != nullptr && page->loading) transfers_.wait_for(*page);
  if (page == nullptr || !page->is_complete()) fetch(number, number);
  page = cache_.find(number);
  assert(page != nullptr && page->is_complete());
  return *page;
}

std::vector<CachedPage*> PageReader::make_loadable(std::uint64_t first, std::uint64_t last) {
  std::vector<CachedPage*> wanted;
  wanted.reserve(static_cast<std::size_t>(last - first + 1));
  // Marked as loading at once, so that making room for the next one leaves it here.
  try {
    for (auto number = first; number <= last; ++number) {
      CachedPage* page = cache_.find(number);
      if (page != nullptr && (page->loading || page->is_complete())) continue;
      writer_.make_room(1, page);
      if (page == nullptr) page = &cache_.add(number);
      if (number >= plain_.known().sent_pages()) {
        std::memset(page->bytes.get(), 0, CachedPage::size);
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

std::size_t PageReader::fetch(std::uint64_t first, std::uint64_t last) {
  const auto wanted = make_loadable(first, last);
  if (wanted.empty()) return 0;
  for (auto* const page : wanted) page->loading = false;
  counters_.misses += wanted.size();
  try {
    plain_.shared().run([&](Connection& connection, Batch& batch) {
      for (auto* const page : wanted) {
        transfers_.load(connection, *page, &batch);
      }
    });
  } catch (...) {
    // Some pages were not even asked for.
    for (auto* const page : wanted)
      if (!page->is_complete()) cache_.forget_base(*page);
    throw;
  }
  return wanted.size();
}

void PageReader::read_ahead(std::uint64_t page) {
  const auto wish =
      ahead_.after_read(page, plain_.known().sent_pages(), plain_.server().buffered_bytes_max / page_size);
  if (!wish) return;
  plain_.shared().run([&](Connection& connection, Batch&) {
    for (auto number = wish->from; number < wish->until; ++number) {
      if (cache_.peek(number) != nullptr) continue;
      // Reading ahead never sends dirty pages to make room, and never drops the page that was read last.
      if (transfers_.count() >= wish->window || !cache_.make_room(1, cache_.peek(page))) break;
      CachedPage& next = cache_.add(number);
      next.known_begin = next.known_end = 0;
      transfers_.load(connection, next, nullptr);
      ++counters_.read_ahead;
    }
    connection.send_now();
  });
  ahead_.asked(*wish);
}

}  // namespace pageserver::client
