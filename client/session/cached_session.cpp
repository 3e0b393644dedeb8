// Cached calls: bounds, what is known here, order. cached_session_pages.cpp moves the pages.
#include "client/session/cached_session.hpp"

#include <algorithm>
#include <cstring>

namespace pageserver::client {
namespace {

// Far below the 10 ms after which nothing may be served that the daemon's notice forbids.
constexpr std::chrono::milliseconds look_interval{2};

bool is_cacheable(const RemoteOptions& options) {
  const bool live = options.access == Access::read && options.view == View::live;
  return !live && options.cache_bytes / page_size >= PageCache::buffers_min;
}

}  // namespace

std::unique_ptr<RemoteSession> make_remote_session(RemoteOptions options) {
  if (is_cacheable(options)) return std::make_unique<CachedSession>(std::move(options));
  return std::make_unique<RemoteSession>(std::move(options));
}

CachedSession::CachedSession(RemoteOptions options)
    : RemoteSession{std::move(options)},
      writes_back_{options_.access == Access::fork || options_.publish == Publish::on_flush},
      cache_{options_.cache_bytes} {
  constexpr std::size_t chunk_pages_max = 16;
  chunk_pages_ = std::clamp<std::size_t>(cache_.buffers_max() / 4, 1, chunk_pages_max);
}

CachedSession::Piece CachedSession::piece_at(std::uint64_t offset, std::size_t length) {
  const auto begin = static_cast<std::size_t>(offset % page_size);
  return {offset / page_size, begin, std::min<std::size_t>(length, Page::size - begin)};
}

std::unique_lock<std::mutex> CachedSession::enter(proto::Operation operation) {
  // Before the lock: in a child after fork(2) a thread of the parent may have held it.
  if (is_forked()) shared_.connection().check_usable(operation);
  return std::unique_lock{mutex_};
}

void CachedSession::look_if_due(proto::Operation operation) {
  const auto now = Clock::now();
  if (now - looked_at_ < look_interval) return shared_.connection().check_usable(operation);
  shared_.look(operation, [] {});
  looked_at_ = now;
}

void CachedSession::check_call(proto::Operation operation, std::uint64_t offset, std::uint64_t length) {
  look_if_due(operation);
  if (!pages_known_) (void)ask_size();
  check_bounds(proto::to_string(operation), offset, length, pages_);
}

std::uint64_t CachedSession::pages(std::string_view action) {
  const auto lock = enter(proto::Operation::size);
  look_if_due(proto::Operation::size);
  return pages_known_ ? pages_ : RemoteSession::pages(action);
}

std::uint64_t CachedSession::grow(std::uint64_t new_pages) {
  refuse_readers("grow");
  const auto lock = enter(proto::Operation::grow);
  if (!writes_back_ || new_pages == 0) return RemoteSession::grow(new_pages);
  check_call(proto::Operation::grow, 0, 0);
  const auto pages_max = size_bytes_max_ / page_size;
  if (pages_ > pages_max || new_pages > pages_max - pages_) {
    // The daemon has the words for it.
    if (unsent_pages_ > 0) send({});
    return RemoteSession::grow(new_pages);
  }
  unsent_pages_ += new_pages;
  return std::exchange(pages_, pages_ + new_pages);
}

void CachedSession::read(std::uint64_t offset, std::span<std::byte> buffer) {
  const auto lock = enter(proto::Operation::read);
  check_call(proto::Operation::read, offset, buffer.size());
  const std::uint64_t pages = buffer.empty() ? 0 : (offset + buffer.size() - 1) / page_size - offset / page_size + 1;
  if (pages > chunk_pages_) return read_past_cache(offset, buffer);
  read_cached(offset, buffer);
}

void CachedSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  refuse_readers("write");
  const auto lock = enter(proto::Operation::write);
  check_call(proto::Operation::write, offset, data.size());
  if (!writes_back_) return write_through(offset, data);
  while (!data.empty()) {
    const auto piece = piece_at(offset, data.size());
    write_back(piece, data.data());
    offset += piece.length;
    data = data.subspan(piece.length);
  }
}

void CachedSession::flush() {
  const auto lock = enter(proto::Operation::flush);
  if (options_.access != Access::write || !writes_back_) return RemoteSession::flush();
  Commit commit;
  const bool commits = (shared_.connection().server().features & proto::feature_commit) != 0;
  if (!commits) drain();  // a page that was sent ahead and not taken is to be sent again
  send(cache_.dirty(), commits ? &commit : nullptr);
  if (commit.sent && !commit.error) return;
  const bool refused = commit.error && commit.error->errc() == Errc::invalid_argument;
  if (refused) {
    // For a change whose error was thrown by the call that sent it, and of which the rest was sent and taken now; or
    // for a page that was sent ahead, and is to be sent again.
    drain();
    send_all();
  }
  try {
    if (commit.error && !refused) {
      pages_known_ = false;
      throw MemoryError{*commit.error};
    }
    RemoteSession::flush();
  } catch (...) {
    // Published, or not: the daemon knows what there is now.
    drain();
    cache_.clear();
    throw;
  }
}

Version CachedSession::version() {
  const auto lock = enter(proto::Operation::size);
  return RemoteSession::version();
}

Stat CachedSession::stat() {
  const auto lock = enter(proto::Operation::stat);
  return RemoteSession::stat();
}

Refreshed CachedSession::refresh() {
  const auto lock = enter(proto::Operation::refresh);
  // A page that was sent ahead and not taken is to be sent again. A fork that has something private is refused, which
  // only the daemon can do.
  drain();
  if (writes_back_) send_all();
  try {
    auto refreshed = RemoteSession::refresh();
    if (refreshed.everything) cache_.clear();
    for (const auto& range : refreshed.changed) cache_.drop_range(range.offset, range.length);
    ahead_until_ = 0;
    return refreshed;
  } catch (...) {
    // It may have been carried out, and what changed is not known.
    cache_.clear();
    ahead_until_ = 0;
    throw;
  }
}

void CachedSession::discard() {
  const auto lock = enter(proto::Operation::discard);
  if (!writes_back_) return RemoteSession::discard();
  shared_.connection().check_usable(proto::Operation::discard);
  drain();
  // Until the daemon has dropped its part, what was not sent belongs to the same transaction.
  RemoteSession::discard();
  cache_.clear();
  unsent_pages_ = 0;
}

void CachedSession::zero(std::uint64_t offset, std::uint64_t length) {
  refuse_readers("zero");
  const auto lock = enter(proto::Operation::zero);
  check_call(proto::Operation::zero, offset, length);
  if (length == 0) return;
  drain();
  if (unsent_pages_ > 0) send({});
  try {
    RemoteSession::zero(offset, length);
  } catch (...) {
    // Where it is done by several writes, some may have been carried out.
    cache_.distrust(offset, length);
    throw;
  }
  cache_.each_in(offset, length, [&](Page& page) {
    const auto at = page.number * page_size;
    const auto begin = static_cast<std::size_t>(std::max(at, offset) - at);
    const auto end = static_cast<std::size_t>(std::min(at + page_size, offset + length) - at);
    std::memset(page.bytes.get() + begin, 0, end - begin);
    if (page.base) std::memset(page.base.get() + begin, 0, end - begin);
  });
}

std::vector<ByteRange> CachedSession::data_ranges(std::uint64_t offset, std::uint64_t length) {
  const auto lock = enter(proto::Operation::data_ranges);
  if (writes_back_) send_all();
  return RemoteSession::data_ranges(offset, length);
}

RemoteTraffic CachedSession::traffic() {
  const auto lock = enter(proto::Operation::ping);
  auto traffic = RemoteSession::traffic();
  traffic.cache_hits = counted_.cache_hits;
  traffic.cache_misses = counted_.cache_misses;
  traffic.pages_read_ahead = counted_.pages_read_ahead;
  traffic.cache_bytes = cache_.bytes();
  traffic.cache_bytes_peak = cache_.bytes_peak();
  return traffic;
}

}  // namespace pageserver::client
