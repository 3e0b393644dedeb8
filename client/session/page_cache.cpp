#include "client/session/page_cache.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace pageserver::client {
namespace {

// Of one page: beyond that, larger gaps are sent along.
constexpr std::size_t cached_ranges_max = 16;

// About what a commit changes: the copies of pages as they were before it.
constexpr std::size_t spare_max = 32;

}  // namespace

PageCache::PageCache(std::uint64_t bytes_max) : buffers_max_{static_cast<std::size_t>(bytes_max / page_size)} {
  spare_.reserve(std::min(spare_max, buffers_max_));
}

std::vector<PageRange> CachedPage::unsent() const {
  if (!dirty) return {};
  if (!has_before()) return {{known_begin, known_end - known_begin}};
  const std::span<const std::byte> before =
      base_is_zero ? std::span<const std::byte>{} : std::span<const std::byte>{base.get(), size};
  return differing_ranges(all(), before, cached_ranges_max);
}

void CachedPage::complete_from_base() {
  std::memcpy(bytes.get(), base.get(), known_begin);
  std::memcpy(bytes.get() + known_end, base.get() + known_end, size - known_end);
  known_begin = 0;
  known_end = size;
}

PageCache::Page* PageCache::find(std::uint64_t number) {
  const auto found = pages_.find(number);
  if (found == pages_.end()) return nullptr;
  if (found->second != order_.begin()) order_.splice(order_.begin(), order_, found->second);
  return &*found->second;
}

PageCache::Page* PageCache::peek(std::uint64_t number) {
  const auto found = pages_.find(number);
  return found == pages_.end() ? nullptr : &*found->second;
}

PageCache::Page::Buffer PageCache::take_buffer() {
  Page::Buffer buffer;
  if (spare_.empty()) {
    buffer = base::make_io_memory(Page::size);
  } else {
    buffer = std::move(spare_.back());
    spare_.pop_back();
  }
  ++buffers_;
  buffers_peak_ = std::max(buffers_peak_, buffers_);
  return buffer;
}

void PageCache::give_back(Page::Buffer buffer) noexcept {
  if (!buffer) return;
  --buffers_;
  // What is spare is memory as well: it is kept only while there is room for it.
  if (spare_.size() < spare_.capacity() && buffers_ + spare_.size() < buffers_max_) spare_.push_back(std::move(buffer));
}

PageCache::Page& PageCache::add(std::uint64_t number) {
  assert(!pages_.contains(number) && "the page is here already");
  order_.emplace_front();
  Page& page = order_.front();
  page.number = number;
  try {
    page.bytes = take_buffer();
    pages_.emplace(number, order_.begin());
  } catch (...) {
    give_back(std::move(page.bytes));
    order_.pop_front();
    throw;
  }
  return page;
}

void PageCache::erase(Order::iterator page) noexcept {
  assert(!page->loading && !page->sending && "a request still has the page");
  pages_.erase(page->number);
  give_back(std::move(page->bytes));
  give_back(std::move(page->base));
  order_.erase(page);
}

void PageCache::drop(std::uint64_t number) {
  const auto found = pages_.find(number);
  if (found != pages_.end()) erase(found->second);
}

void PageCache::clear() noexcept {
  while (!order_.empty()) erase(order_.begin());
  spare_.clear();
}

void PageCache::drop_range(std::uint64_t offset, std::uint64_t length) noexcept {
  erase_in(offset, length, [](const Page&) { return true; });
}

void PageCache::distrust(std::uint64_t offset, std::uint64_t length) noexcept {
  erase_in(offset, length, [this](Page& page) {
    if (page.dirty) forget_base(page);
    return !page.dirty;
  });
}

// Without a list of them: it is needed where an error passes, and must not fail itself.
template <class Choose>
void PageCache::erase_in(std::uint64_t offset, std::uint64_t length, Choose choose) noexcept {
  if (length == 0) return;
  const auto first = offset / page_size;
  const auto last = (offset + (length - 1)) / page_size;
  if (last - first < pages_.size()) {
    for (auto number = first; number <= last; ++number) {
      const auto found = pages_.find(number);
      if (found != pages_.end() && choose(*found->second)) erase(found->second);
    }
    return;
  }
  for (auto page = order_.begin(); page != order_.end();) {
    const auto next = std::next(page);
    if (page->number >= first && page->number <= last && choose(*page)) erase(page);
    page = next;
  }
}

void PageCache::keep_as_it_was(Page& page) {
  assert(!page.dirty && page.is_complete());
  page.base = take_buffer();
  std::memcpy(page.base.get(), page.bytes.get(), Page::size);
  page.dirty = true;
}

void PageCache::forget_base(Page& page) noexcept {
  page.base_is_zero = false;
  give_back(std::move(page.base));
}

void PageCache::mark_clean(Page& page) noexcept {
  page.dirty = false;
  forget_base(page);
}

bool PageCache::make_room(std::size_t buffers, const Page* keep) {
  for (auto page = order_.end(); buffers_ + buffers > buffers_max_ && page != order_.begin();) {
    --page;
    if (page->dirty || page->loading || &*page == keep) continue;
    const auto next = std::next(page);
    erase(page);
    page = next;
  }
  return buffers_ + buffers <= buffers_max_;
}

std::vector<PageCache::Page*> PageCache::dirty_to_send(const Page* keep) {
  std::vector<Page*> pages;
  const std::size_t most = std::max<std::size_t>(1, buffers_max_ / 4);
  for (auto page = order_.rbegin(); page != order_.rend() && pages.size() < most; ++page)
    if (page->dirty && !page->loading && !page->sending && &*page != keep) pages.push_back(&*page);
  return pages;
}

std::vector<PageCache::Page*> PageCache::dirty() {
  std::vector<Page*> pages;
  for (Page& page : order_)
    if (page.dirty && !page.sending) pages.push_back(&page);
  std::sort(pages.begin(), pages.end(), [](const Page* a, const Page* b) { return a->number < b->number; });
  return pages;
}

}  // namespace pageserver::client
