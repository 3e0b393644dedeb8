#include "client/session/cached_session.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

namespace pageserver::client {
namespace {

// Far below the 10 ms after which nothing may be served that the daemon's notice forbids.
constexpr std::chrono::milliseconds look_interval{2};

/// How many pages one call brings in, or is asked for ahead: at most a quarter of the cache.
std::size_t chunk_pages(const PageCache& cache) {
  constexpr std::size_t chunk_pages_max = 16;
  return std::clamp<std::size_t>(cache.buffers_max() / 4, 1, chunk_pages_max);
}

}  // namespace

CachedSession::CachedSession(RemoteOptions options)
    : plain_{std::move(options)},
      writes_back_{plain_.options().access == Access::fork || plain_.options().publish == Publish::on_flush},
      cache_{plain_.options().cache_bytes},
      transfers_{plain_.shared(), cache_},
      writer_{plain_, cache_, transfers_, chunk_pages(cache_)},
      reader_{plain_, cache_, transfers_, writer_, chunk_pages(cache_)} {}

CachedSession::Inside::Inside(CachedSession& session, proto::Operation operation) : mutex_{session.mutex_} {
  if (session.is_forked()) session.plain_.shared().connection().check_usable(operation);
  mutex_.lock();
}

CachedSession::Inside::~Inside() { mutex_.unlock(); }

void CachedSession::look_if_due(proto::Operation operation) {
  const auto now = Clock::now();
  if (now - looked_at_ < look_interval) return plain_.shared().connection().check_usable(operation);
  plain_.shared().look(operation, [] {});
  looked_at_ = now;
}

void CachedSession::check_call(proto::Operation operation, std::uint64_t offset, std::uint64_t length) {
  look_if_due(operation);
  if (!plain_.known().pages_known) (void)plain_.ask_size();
  plain_.check_bounds(proto::to_string(operation), offset, length, plain_.known().pages);
}

std::uint64_t CachedSession::pages() {
  const Inside inside{*this, proto::Operation::size};
  look_if_due(proto::Operation::size);
  return plain_.known().pages_known ? plain_.known().pages : plain_.pages();
}

std::uint64_t CachedSession::grow(std::uint64_t new_pages) {
  plain_.refuse_readers("grow");
  const Inside inside{*this, proto::Operation::grow};
  if (new_pages == 0) return plain_.grow(0);
  if (!writes_back_) {
    const auto previous = plain_.grow(new_pages);
    know_zeros(previous, new_pages);
    return previous;
  }
  check_call(proto::Operation::grow, 0, 0);
  auto& known = plain_.known();
  const auto pages_max = known.size_bytes_max / page_size;
  if (known.pages > pages_max || new_pages > pages_max - known.pages) {
    // The daemon has the words for it.
    writer_.send_grown();
    return plain_.grow(new_pages);
  }
  known.unsent_pages += new_pages;
  return std::exchange(known.pages, known.pages + new_pages);
}

// Of pages that the daemon has just grown, so that what is written there first is compared with zeros. Those that many
// of them would push out are worth more.
void CachedSession::know_zeros(std::uint64_t first, std::uint64_t count) {
  for (const auto end = first + std::min<std::uint64_t>(count, chunk_pages(cache_)); first < end; ++first) {
    if (!cache_.make_room(1, nullptr)) return;
    auto& page = cache_.add(first);
    std::memset(page.bytes.get(), 0, CachedPage::size);
  }
}

void CachedSession::read(std::uint64_t offset, std::span<std::byte> buffer) {
  const Inside inside{*this, proto::Operation::read};
  check_call(proto::Operation::read, offset, buffer.size());
  reader_.read(offset, buffer);
}

void CachedSession::write(std::uint64_t offset, std::span<const std::byte> data) {
  plain_.refuse_readers("write");
  const Inside inside{*this, proto::Operation::write};
  check_call(proto::Operation::write, offset, data.size());
  if (!writes_back_) return writer_.write_through(offset, data);
  while (!data.empty()) {
    const auto part = first_part(offset, data.size());
    while (!writer_.write_back(part, data.data())) (void)reader_.bring(part.page);
    offset += part.length;
    data = data.subspan(part.length);
  }
}

void CachedSession::flush() {
  const Inside inside{*this, proto::Operation::flush};
  if (plain_.options().access == Access::write && writes_back_)
    commit();
  else
    plain_.flush();
}

// What is left of the transaction goes out with a commit behind it, in one round trip. A flush of its own follows where
// the daemon has no commit, where there was nothing to send, and where the commit was refused because of a change that
// failed: for one whose error was thrown by an earlier call, or for a page sent ahead, which goes out once more.
void CachedSession::commit() {
  PageWriter::Commit commit;
  const bool commits = (plain_.server().features & proto::feature_commit) != 0;
  if (!commits) transfers_.drain();  // a page that was sent ahead and not taken is to be sent again
  writer_.send(cache_.dirty(), commits ? &commit : nullptr);
  if (commit.sent && !commit.error) return;
  const bool refused = commit.error && commit.error->errc() == Errc::invalid_argument;
  if (refused) {
    transfers_.drain();
    writer_.send_all();
  }
  try {
    if (commit.error && !refused) {
      plain_.known().pages_known = false;
      throw MemoryError{*commit.error};
    }
    plain_.flush();
  } catch (...) {
    // Published, or not: the daemon knows what there is now.
    transfers_.drain();
    cache_.clear();
    throw;
  }
}

void CachedSession::check_usable() {
  const Inside inside{*this, proto::Operation::flush};
  plain_.check_usable();
}

Version CachedSession::version() {
  const Inside inside{*this, proto::Operation::size};
  return plain_.version();
}

std::optional<HolderStat> CachedSession::break_lease(std::uint64_t epoch) {
  const Inside inside{*this, proto::Operation::break_lease};
  return plain_.break_lease(epoch);
}

// Another thread that is inside takes in what comes.
std::optional<MemoryError> CachedSession::lost() PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
  if (is_forked()) return plain_.lost();
  if (!mutex_.try_lock()) return plain_.known_loss();
  const std::unique_lock lock{mutex_, std::adopt_lock};
  return plain_.lost();
}

Stat CachedSession::stat() {
  const Inside inside{*this, proto::Operation::stat};
  return plain_.stat();
}

Refreshed CachedSession::refresh() {
  const Inside inside{*this, proto::Operation::refresh};
  // A page that was sent ahead and not taken is to be sent again. A fork that has something private is refused, which
  // only the daemon can do.
  transfers_.drain();
  if (writes_back_) writer_.send_all();
  try {
    auto refreshed = plain_.refresh();
    if (refreshed.everything) cache_.clear();
    for (const auto& range : refreshed.changed) cache_.drop_range(range.offset, range.length);
    reader_.forget_ahead();
    return refreshed;
  } catch (...) {
    // It may have been carried out, and what changed is not known.
    cache_.clear();
    reader_.forget_ahead();
    throw;
  }
}

void CachedSession::discard() {
  const Inside inside{*this, proto::Operation::discard};
  if (!writes_back_) return plain_.discard();
  plain_.shared().connection().check_usable(proto::Operation::discard);
  transfers_.drain();
  // Unsent bytes belong to the same transaction: they stay until the daemon has dropped its part.
  plain_.discard();
  cache_.clear();
  plain_.known().unsent_pages = 0;
}

void CachedSession::zero(std::uint64_t offset, std::uint64_t length) {
  plain_.refuse_readers("zero");
  const Inside inside{*this, proto::Operation::zero};
  check_call(proto::Operation::zero, offset, length);
  if (length == 0) return;
  transfers_.drain();
  writer_.send_grown();
  try {
    plain_.zero(offset, length);
  } catch (...) {
    // Where it is done by several writes, some may have been carried out.
    cache_.distrust(offset, length);
    throw;
  }
  cache_.each_in(offset, length, [&](CachedPage& page) {
    const auto at = page.number * page_size;
    const auto begin = static_cast<std::size_t>(std::max(at, offset) - at);
    const auto end = static_cast<std::size_t>(std::min(at + page_size, offset + length) - at);
    std::memset(page.bytes.get() + begin, 0, end - begin);
    if (page.base) std::memset(page.base.get() + begin, 0, end - begin);
  });
}

std::vector<ByteRange> CachedSession::data_ranges(std::uint64_t offset, std::uint64_t length) {
  const Inside inside{*this, proto::Operation::data_ranges};
  if (writes_back_) writer_.send_all();
  return plain_.data_ranges(offset, length);
}

RemoteTraffic CachedSession::traffic() {
  const Inside inside{*this, proto::Operation::ping};
  auto traffic = plain_.traffic();
  traffic.cache_hits = reader_.counters().hits;
  traffic.cache_misses = reader_.counters().misses;
  traffic.pages_read_ahead = reader_.counters().read_ahead;
  traffic.cache_bytes = cache_.bytes();
  traffic.cache_bytes_peak = cache_.bytes_peak();
  return traffic;
}

}  // namespace pageserver::client
