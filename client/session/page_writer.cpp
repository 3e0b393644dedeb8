#include "client/session/page_writer.hpp"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "base/bytes.hpp"

namespace pageserver::client {
namespace {

// Zeros shorter than this go out as bytes: a request of their own would cost as much.
constexpr std::size_t zeros_min = 4096;

}  // namespace

void PageWriter::write_through(std::uint64_t offset, std::span<const std::byte> data) {
  // In one request, though equal bytes may lie between: a write is atomic.
  std::size_t begin = data.size();
  std::size_t end = 0;
  for (std::size_t at = 0; at < data.size();) {
    const auto part = first_part(offset + at, data.size() - at);
    CachedPage* const page = cache_.find(part.page);
    if (page != nullptr && page->loading) transfers_.wait_for(*page);
    const auto bytes = data.subspan(at, part.length);
    if (page == nullptr || !page->is_complete()) {
      begin = std::min(begin, at);
      end = at + part.length;
    } else if (std::memcmp(bytes.data(), page->bytes.get() + part.begin, part.length) != 0) {
      const std::span<const std::byte> held{page->bytes.get() + part.begin, part.length};
      const auto first = std::mismatch(bytes.begin(), bytes.end(), held.begin()).first - bytes.begin();
      const auto last = std::mismatch(bytes.rbegin(), bytes.rend(), held.rbegin()).first - bytes.rbegin();
      begin = std::min(begin, at + static_cast<std::size_t>(first));
      end = at + part.length - static_cast<std::size_t>(last);
    }
    at += part.length;
  }
  if (begin >= end) return;
  try {
    plain_.write(offset + begin, data.subspan(begin, end - begin));
  } catch (...) {
    cache_.drop_range(offset, data.size());
    throw;
  }
  for (std::size_t at = 0; at < data.size();) {
    const auto part = first_part(offset + at, data.size() - at);
    CachedPage* page = cache_.peek(part.page);
    if (page == nullptr && part.length == CachedPage::size && cache_.make_room(1, nullptr))
      page = &cache_.add(part.page);
    if (page != nullptr) std::memcpy(page->bytes.get() + part.begin, data.data() + at, part.length);
    at += part.length;
  }
}

bool PageWriter::write_back(const PagePart& part, const std::byte* data) {
  CachedPage* page = cache_.find(part.page);
  if (page != nullptr && (page->loading || page->sending)) transfers_.wait_for(*page);
  if (page != nullptr && !page->dirty && !page->is_complete()) {
    // A read ahead that failed.
    cache_.drop(part.page);
    page = nullptr;
  }
  if (page == nullptr) {
    begin_page(part, data);
    return true;
  }
  if (!page->dirty) {
    if (std::memcmp(page->bytes.get() + part.begin, data, part.length) == 0) return true;
    if (part.page >= plain_.known().sent_pages()) {
      page->dirty = page->base_is_zero = true;
    } else {
      make_room(1, page);
      cache_.keep_as_it_was(*page);
    }
  } else if (!page->is_complete() && part.length < CachedPage::size &&
             (part.begin > page->known_end || part.end() < page->known_begin)) {
    return false;
  }
  std::memcpy(page->bytes.get() + part.begin, data, part.length);
  page->known_begin = std::min(page->known_begin, part.begin);
  page->known_end = std::max(page->known_end, part.end());
  if (part.end() == CachedPage::size && page->is_complete() && !page->has_before()) last_whole_ = part.page;
  return true;
}

void PageWriter::begin_page(const PagePart& part, const std::byte* data) {
  if (part.begin == 0) send_before(part.page);
  make_room(1, nullptr);
  CachedPage& page = cache_.add(part.page);
  page.dirty = true;
  if (part.page >= plain_.known().sent_pages()) {
    page.base_is_zero = true;
    if (part.length < CachedPage::size) std::memset(page.bytes.get(), 0, CachedPage::size);
  } else {
    page.known_begin = part.begin;
    page.known_end = part.end();
  }
  std::memcpy(page.bytes.get() + part.begin, data, part.length);
  if (part.length == CachedPage::size && !page.has_before()) last_whole_ = part.page;
}

// Writes go forward when a page is begun and the one before was written to its end. That one goes out now, so that a
// flush has less to wait for; but only if all of it has to go out anyway.
void PageWriter::send_before(std::uint64_t page) {
  const auto last_whole = std::exchange(last_whole_, ~std::uint64_t{0});
  if (page == 0 || last_whole != page - 1 || transfers_.count() >= ahead_max_) return;
  CachedPage* const before = cache_.peek(page - 1);
  const bool whole = before != nullptr && before->dirty && before->is_complete() && !before->has_before();
  if (!whole || before->loading || before->sending || base::all_zero(before->all())) return;
  transfers_.send_ahead(*before);
}

void PageWriter::make_room(std::size_t buffers, const CachedPage* keep) {
  while (!cache_.make_room(buffers, keep)) {
    const auto pages = cache_.dirty_to_send(keep);
    if (!pages.empty())
      send(pages);
    else
      transfers_.drain();
  }
}

void PageWriter::send(const std::vector<CachedPage*>& pages, Commit* commit) {
  std::vector<Sending> sendings;
  sendings.reserve(pages.size());
  // A commit also tells of the pages that were sent ahead.
  bool anything = plain_.known().unsent_pages > 0 || (commit != nullptr && transfers_.count() > 0);
  for (auto* const page : pages) {
    auto ranges = page->unsent();
    anything = anything || !ranges.empty();
    const auto left = ranges.size();
    sendings.push_back({page, std::move(ranges), left});
  }
  std::exception_ptr failed;
  if (anything) {
    try {
      plain_.shared().run([&](Connection& connection, Batch& batch) { submit(connection, batch, sendings, commit); });
    } catch (...) {
      failed = std::current_exception();
    }
  }
  for (const auto& sending : sendings) {
    if (sending.left == 0) {
      cache_.mark_clean(*sending.page);
    } else if (sending.left < sending.ranges.size()) {
      // Neither as it was nor as it is: from now on all of it has to be sent.
      cache_.forget_base(*sending.page);
    }
  }
  if (failed) std::rethrow_exception(failed);
}

void PageWriter::send_grown() {
  if (plain_.known().unsent_pages > 0) send({});
}

void PageWriter::submit(Connection& connection, Batch& batch, std::vector<Sending>& sendings, Commit* commit) {
  if (const auto grown = plain_.known().unsent_pages; grown > 0) {
    const auto check = [this](const proto::GrowAnswer& answer) { return plain_.check_previous_pages(answer); };
    connection.submit_checked(proto::GrowRequest{grown}, check, [this, &batch, grown](const auto& outcome) {
      if (outcome.ok()) plain_.known().unsent_pages -= grown;
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
}

void PageWriter::submit_ranges(Connection& connection, Batch& batch, Sending& sending) {
  const CachedPage& page = *sending.page;
  const bool zeros = (connection.server().features & proto::feature_zero) != 0;
  for (const auto& range : sending.ranges) {
    const auto offset = page.number * page_size + range.begin;
    const auto bytes = page.all().subspan(range.begin, range.length);
    const auto done = [&batch, &sending](const auto& outcome) {
      if (outcome.ok()) --sending.left;
      batch.finish(outcome.error());
    };
    if (zeros && range.length >= zeros_min && base::all_zero(bytes))
      connection.submit(proto::ZeroRequest{offset, range.length}, done);
    else
      connection.submit_write(offset, bytes, done);
    batch.add();
  }
}

}  // namespace pageserver::client
