// How the bytes of a file in a pool are read: directly, ahead of who reads in order, and from the cache of pages.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "storage/objects/object_file.hpp"

namespace pageserver::storage {
namespace {

// Reading ahead, in chunks. A file of a log that was found here is kept whole: a recovery reads it in order, and then
// again by page.
constexpr std::uint64_t chunk_bytes = 1ull << 20;
constexpr std::size_t chunks_ahead = 6;
constexpr std::size_t chunks_kept_max = 8;
constexpr std::size_t log_chunks_kept_max = 64;
// What is cached of a file, and how much of it is read ahead where reads follow each other.
constexpr std::uint64_t cached_bytes = 64ull << 10;
constexpr std::uint64_t pages_ahead = 32;
// Of each of the last writes so much is kept.
constexpr std::size_t tail_bytes = 64;

}  // namespace

struct ObjectFile::Ahead {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
  std::shared_ptr<ObjectWaits> waits = std::make_shared<ObjectWaits>();
};

// `keeps` lives until the read has ended, so that `buffer` does.
void ObjectFile::begin_read(std::uint64_t offset, std::span<std::byte> buffer,
                            const std::shared_ptr<ObjectWaits>& waits, const std::shared_ptr<void>& keeps) {
  while (!buffer.empty()) {
    const std::uint64_t number = offset / run_bytes_;
    const std::uint64_t within = offset % run_bytes_;
    const auto part =
        buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), run_bytes_ - within)));
    buffer = buffer.subspan(part.size());
    offset += part.size();
    {
      const Lock lock{mutex_};
      if (run(number) == Run::absent) {
        std::memset(part.data(), 0, part.size());
        continue;
      }
    }
    folder_->pool->read(
        run_object(number_, number), within, part,
        [self = shared_from_this(), number, part, done = waits->one(ENOENT), keeps](int error, std::uint64_t bytes) {
          if (error == 0 || error == ENOENT) {
            const std::uint64_t there = error == 0 ? std::min<std::uint64_t>(bytes, part.size()) : 0;
            std::memset(part.data() + there, 0, part.size() - there);
            if (error == ENOENT) self->note_run(number, Run::absent);
          }
          done(error);
        });
  }
}

void ObjectFile::forget(std::uint64_t offset, std::uint64_t length) {
  const auto meets = [&](std::uint64_t at, std::uint64_t bytes) { return at - offset < length || offset - at < bytes; };
  std::erase_if(ahead_, [&](const auto& one) { return meets(one->offset, one->bytes.size()); });
  for (Tail& tail : tails_)
    if (meets(tail.offset, tail.bytes.size())) tail.bytes.clear();
  if (cache_.empty() || length == 0) return;
  const std::uint64_t first = offset / cached_bytes;
  const std::uint64_t last = length - 1 > ~offset ? ~0ull / cached_bytes : (offset + length - 1) / cached_bytes;
  if (last - first < cache_.size()) {
    for (std::uint64_t page = first; page <= last; ++page) uncache(page);
    return;
  }
  const std::vector<std::uint64_t> pages{cache_order_.begin(), cache_order_.end()};
  for (const std::uint64_t page : pages)
    if (page >= first && page <= last) uncache(page);
}

/// One page of a file, or its reading. Who has found it keeps it, also when it is taken out meanwhile.
struct ObjectFile::Cached {
  std::vector<std::byte> bytes = std::vector<std::byte>(cached_bytes);
  std::shared_ptr<ObjectWaits> waits = std::make_shared<ObjectWaits>();
  std::list<std::uint64_t>::iterator place;
};

void ObjectFile::begin_cache(base::MemoryShare& share) {
  const Lock lock{ahead_mutex_};
  cache_share_ = &share;
}

void ObjectFile::drop_cache() {
  const Lock lock{ahead_mutex_};
  while (!cache_order_.empty()) uncache(cache_order_.front());
  cache_share_ = nullptr;
}

void ObjectFile::uncache(std::uint64_t page) {
  const auto found = cache_.find(page);
  if (found == cache_.end()) return;
  cache_order_.erase(found->second->place);
  cache_.erase(found);
  cache_share_->give_back(cached_bytes);
}

// Another file may have all there is of the share: then this one has nothing to give way with.
bool ObjectFile::make_room_in_cache() {
  if (cache_share_->take(cached_bytes, cache_share_->bytes_max())) return true;
  if (cache_order_.empty()) return false;
  uncache(cache_order_.front());
  return cache_share_->take(cached_bytes, cache_share_->bytes_max());
}

/// What is in the cache, or begun to be read into it; null: there is no room.
std::shared_ptr<ObjectFile::Cached> ObjectFile::cached_page(std::uint64_t page) {
  if (const auto found = cache_.find(page); found != cache_.end()) {
    cache_order_.splice(cache_order_.end(), cache_order_, found->second->place);
    return found->second;
  }
  auto made = std::make_shared<Cached>();
  if (!make_room_in_cache()) return nullptr;
  cache_order_.push_back(page);
  made->place = std::prev(cache_order_.end());
  cache_.emplace(page, made);
  // Handed over under the mutex: a write that comes later finds the page here, and takes it out.
  begin_read(page * cached_bytes, made->bytes, made->waits, made);
  return made;
}

namespace {

/// Bytes of a file that are read directly into a caller's buffer, or where that may be gone by then into own ones.
class DirectRead {
public:
  using Moment = ObjectWaits::Moment;
  explicit DirectRead(const std::optional<Moment>& deadline) : deadline_{deadline} {}

  /// `begin(into, waits, keeps)`.
  template <class Begin>
  void add(std::span<std::byte> part, const Begin& begin) {
    if (!deadline_) return begin(part, waits_, nullptr);
    auto own = std::make_shared<std::vector<std::byte>>(part.size());
    parts_.emplace_back(part, own);
    begin(std::span{*own}, waits_, own);
  }
  /// The first error.
  int wait() {
    const int error = waits_->wait(deadline_);
    if (error == 0)
      for (const auto& [part, own] : parts_) std::copy(own->begin(), own->end(), part.begin());
    return error;
  }

private:
  const std::optional<Moment> deadline_;
  const std::shared_ptr<ObjectWaits> waits_ = std::make_shared<ObjectWaits>();
  std::vector<std::pair<std::span<std::byte>, std::shared_ptr<std::vector<std::byte>>>> parts_;
};

}  // namespace

bool ObjectFile::read_from_cache(std::uint64_t offset, std::span<std::byte> buffer, bool runs_on,
                                 const std::optional<Moment>& deadline, int& error) {
  error = 0;
  if (buffer.empty()) return true;
  const std::uint64_t first = offset / cached_bytes;
  const std::uint64_t last = (offset + buffer.size() - 1) / cached_bytes;
  std::vector<std::shared_ptr<Cached>> pages;
  {
    const Lock lock{ahead_mutex_};
    if (cache_share_ == nullptr) return false;
    for (std::uint64_t page = first; page <= last; ++page) pages.push_back(cached_page(page));
    // A small share must not lose by it what was just read.
    const std::uint64_t ahead = std::min(pages_ahead, cache_share_->bytes_max() / cached_bytes / 4);
    const std::uint64_t end = std::min(last + ahead, (size() - 1) / cached_bytes);
    for (std::uint64_t page = last + 1; runs_on && page <= end; ++page)
      if (cached_page(page) == nullptr) break;
  }
  DirectRead direct{deadline};
  for (std::uint64_t page = first; page <= last; ++page) {
    const std::uint64_t from = std::max(offset, page * cached_bytes);
    const std::uint64_t until = std::min(offset + buffer.size(), (page + 1) * cached_bytes);
    const auto part = buffer.subspan(static_cast<std::size_t>(from - offset), static_cast<std::size_t>(until - from));
    const auto& cached = pages[static_cast<std::size_t>(page - first)];
    if (cached == nullptr) {
      direct.add(part, [&](std::span<std::byte> into, const auto& waits, const std::shared_ptr<void>& keeps) {
        begin_read(from, into, waits, keeps);
      });
      continue;
    }
    if (const int failed = cached->waits->wait(deadline); failed != 0) {
      if (error == 0) error = failed;
      if (failed == ETIMEDOUT) continue;  // its reading goes on, for whoever asks next
      const Lock lock{ahead_mutex_};
      if (const auto found = cache_.find(page); found != cache_.end() && found->second == cached) uncache(page);
      continue;
    }
    std::memcpy(part.data(), cached->bytes.data() + (from - page * cached_bytes), part.size());
  }
  if (const int failed = direct.wait(); error == 0) error = failed;
  return true;
}

void ObjectFile::keep_tail(std::uint64_t end, std::span<const std::byte> last) {
  Tail& tail = tails_[next_tail_++ % tails_.size()];
  const auto bytes = last.last(std::min(last.size(), tail_bytes));
  tail.bytes.assign(bytes.begin(), bytes.end());
  tail.offset = end - bytes.size();
}

bool ObjectFile::read_from_tail(std::uint64_t offset, std::span<std::byte> buffer) {
  if (buffer.size() > tail_bytes) return false;
  const Lock lock{ahead_mutex_};
  for (const Tail& tail : tails_) {
    if (offset < tail.offset || offset + buffer.size() > tail.offset + tail.bytes.size()) continue;
    std::memcpy(buffer.data(), tail.bytes.data() + (offset - tail.offset), buffer.size());
    return true;
  }
  return false;
}

bool ObjectFile::read_from_ahead(std::uint64_t offset, std::span<std::byte> buffer,
                                 const std::optional<Moment>& deadline, int& error) {
  std::shared_ptr<Ahead> found;
  {
    const Lock lock{ahead_mutex_};
    for (const auto& one : ahead_)
      if (offset >= one->offset && offset + buffer.size() <= one->offset + one->bytes.size()) found = one;
  }
  if (!found) return false;
  const int failed = found->waits->wait(deadline);
  if (failed == ETIMEDOUT) error = failed;
  if (failed != 0) return failed == ETIMEDOUT;
  std::memcpy(buffer.data(), found->bytes.data() + (offset - found->offset), buffer.size());
  return true;
}

/// Reads the chunk at `offset` and those behind it, those that are not being read yet.
void ObjectFile::begin_ahead(std::uint64_t offset) {
  const bool keeps_all = !made_ && fenced_;
  const std::uint64_t end = size();
  const std::uint64_t first = offset / chunk_bytes * chunk_bytes;
  std::vector<std::shared_ptr<Ahead>> begun;
  {
    const Lock lock{ahead_mutex_};
    for (std::uint64_t at = first; at < std::min(end, first + chunks_ahead * chunk_bytes); at += chunk_bytes) {
      if (std::any_of(ahead_.begin(), ahead_.end(), [&](const auto& one) { return one->offset == at; })) continue;
      if (keeps_all && ahead_.size() >= log_chunks_kept_max) break;
      auto one = std::make_shared<Ahead>();
      one->offset = at;
      one->bytes.resize(static_cast<std::size_t>(std::min(chunk_bytes, end - at)));
      ahead_.push_back(one);
      begun.push_back(std::move(one));
    }
    while (!keeps_all && ahead_.size() > chunks_kept_max) ahead_.erase(ahead_.begin());
    // Handed over under the mutex: a write that comes later finds them in the list, and takes them out.
    for (const auto& one : begun) begin_read(one->offset, one->bytes, one->waits, one);
  }
}

IoResult ObjectFile::read(std::uint64_t offset, std::span<std::byte> buffer, const std::optional<Moment>& deadline) {
  if (const int lost = lost_error(owner()); lost != 0) return error_result(lost);
  const std::uint64_t end = size();
  if (offset >= end) return {0, 0};
  buffer = buffer.first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), end - offset)));
  if (read_from_tail(offset, buffer)) return {static_cast<std::int64_t>(buffer.size()), 0};
  bool runs_on = false;
  {
    const Lock lock{ahead_mutex_};
    runs_on = next_read_ == offset;
    next_read_ = offset + buffer.size();
  }
  if (int error = 0; !fenced_ && read_from_cache(offset, buffer, runs_on, deadline, error)) {
    if (const int lost = lost_error(owner()); lost != 0) return error_result(lost);
    return error != 0 ? error_result(error) : IoResult{static_cast<std::int64_t>(buffer.size()), 0};
  }
  if (runs_on || (!made_ && fenced_)) begin_ahead(offset);
  DirectRead direct{deadline};
  int error = 0;
  for (std::span<std::byte> rest = buffer; !rest.empty();) {
    const std::uint64_t at = offset + (buffer.size() - rest.size());
    const auto part =
        rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), chunk_bytes - at % chunk_bytes)));
    rest = rest.subspan(part.size());
    if (read_from_ahead(at, part, deadline, error)) continue;
    direct.add(part, [&](std::span<std::byte> into, const auto& waits, const std::shared_ptr<void>& keeps) {
      begin_read(at, into, waits, keeps);
    });
  }
  if (const int failed = direct.wait(); error == 0) error = failed;
  if (const int lost = lost_error(owner()); lost != 0) return error_result(lost);
  return error != 0 ? error_result(error) : IoResult{static_cast<std::int64_t>(buffer.size()), 0};
}

}  // namespace pageserver::storage
