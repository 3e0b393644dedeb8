// Pages of one image in memory: the least recently used ones go first, and dirty ones stay until they are sent. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "base/io_memory.hpp"
#include "client/session/page_ranges.hpp"

namespace pageserver::client {

class Batch;

/// A page, or the part of it that is known. docs/architecture.md draws the way of a page through these states:
///
///   loading   a request reads into it; nothing is known but what was written
///   clean     the daemon has it as it is here
///   dirty     it was written; `base` is how the daemon has it. Without a base the page was written without having been
///             read, and all that is known has to be sent
///   sending   a request sends all of it, and it must not change
struct CachedPage {
  static constexpr std::size_t size = page_size;
  using Buffer = base::IoMemory;

  std::uint64_t number = 0;
  Buffer bytes;
  Buffer base;                // as it was
  bool base_is_zero = false;  // it was all zeros, which takes no memory to know
  bool dirty = false;
  bool loading = false;     // a read into `bytes` is under way
  bool sending = false;     // a write of all of it is under way: it must not change
  Batch* waiter = nullptr;  // of the call that waits for either
  std::size_t known_begin = 0;
  std::size_t known_end = size;

  std::span<std::byte> all() { return {bytes.get(), size}; }
  std::span<const std::byte> all() const { return {bytes.get(), size}; }
  bool is_complete() const { return known_begin == 0 && known_end == size; }
  bool knows(std::size_t begin, std::size_t length) const {
    return begin >= known_begin && begin + length <= known_end;
  }
  bool has_before() const { return base != nullptr || base_is_zero; }
  /// The ranges to send so that the daemon has what is here.
  std::vector<PageRange> unsent() const;
  /// Puts the base, which was read meanwhile, beneath what is known.
  void complete_from_base();
};

/// Memory is counted in buffers of a page: one for each page, and one more for each that is kept as it was.
///
/// Threads: one at a time.
class PageCache {
public:
  using Page = CachedPage;
  /// At least 2 buffers are needed to change a page: see buffers_min.
  explicit PageCache(std::uint64_t bytes_max);

  static constexpr std::size_t buffers_min = 2;

  /// The page, which is then the most recently used one; null when it is not here.
  Page* find(std::uint64_t number);
  /// As find(), without counting as a use.
  Page* peek(std::uint64_t number);
  /// Adds a page that is not here. Room must have been made.
  Page& add(std::uint64_t number);
  void drop(std::uint64_t number);
  void clear() noexcept;
  /// Drops the pages that `[offset, offset + length)` touches.
  void drop_range(std::uint64_t offset, std::uint64_t length) noexcept;
  /// The daemon's bytes there are not known any more: drops clean pages; of dirty ones all that is known is unsent.
  void distrust(std::uint64_t offset, std::uint64_t length) noexcept;
  /// Calls `use` for each page that `[offset, offset + length)` touches, in any order. It must not drop any.
  template <class Use>
  void each_in(std::uint64_t offset, std::uint64_t length, Use use) {
    if (length == 0) return;
    const auto first = offset / page_size;
    const auto last = (offset + (length - 1)) / page_size;
    if (last - first < pages_.size()) {
      for (auto number = first; number <= last; ++number)
        if (Page* const page = peek(number)) use(*page);
      return;
    }
    for (Page& page : order_)
      if (page.number >= first && page.number <= last) use(page);
  }

  /// Copies the page's bytes, so that it may be changed. Room for one buffer must have been made.
  void keep_as_it_was(Page& page);
  /// Takes a buffer for a base that is still to be read, with room made for it.
  void add_base(Page& page) { page.base = take_buffer(); }
  /// Forgets how the page was: all that is known has to be sent.
  void forget_base(Page& page) noexcept;
  /// The daemon has the page as it is.
  void mark_clean(Page& page) noexcept;

  /// Drops clean pages, least recently used first and never `keep`, until `buffers` more fit. False: what is left is
  /// dirty or loading.
  bool make_room(std::size_t buffers, const Page* keep);
  /// Dirty pages to send so that room can be made: the least recently used ones, a quarter of the cache at most, and
  /// none that is on its way.
  std::vector<Page*> dirty_to_send(const Page* keep);
  /// All dirty pages but those that are on their way, in the order of their numbers.
  std::vector<Page*> dirty();

  std::size_t buffers_max() const { return buffers_max_; }
  std::uint64_t bytes() const { return std::uint64_t{buffers_} * page_size; }
  /// Memory for further pages. Together with bytes() never more than the cache may have.
  std::uint64_t spare_bytes() const { return std::uint64_t{spare_.size()} * page_size; }
  /// The most that bytes() has been.
  std::uint64_t bytes_peak() const { return std::uint64_t{buffers_peak_} * page_size; }

private:
  using Order = std::list<Page>;
  Page::Buffer take_buffer();
  void give_back(Page::Buffer buffer) noexcept;
  void erase(Order::iterator page) noexcept;
  template <class Choose>
  void erase_in(std::uint64_t offset, std::uint64_t length, Choose choose) noexcept;

  std::size_t buffers_max_;
  std::size_t buffers_ = 0;
  std::size_t buffers_peak_ = 0;
  Order order_;  // most recently used first
  std::unordered_map<std::uint64_t, Order::iterator> pages_;
  // Given back, and taken again. The system takes them back as well, but makes them anew, page by page, at each commit.
  std::vector<Page::Buffer> spare_;
};

}  // namespace pageserver::client
