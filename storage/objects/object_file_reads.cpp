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
// What is cached of a file, and how much of it is read ahead where reads follow each other: more, once less than half
// of that is left, so that it goes by few operations.
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
      hand_over_gathered(number);
    }
    folder_->pool->read(
        run_object(number_, number), within, {part},
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

/// What is in the cache, or was put there, to be read by begin_pages(), and is in `added`; null: there is no room.
std::shared_ptr<ObjectFile::Cached> ObjectFile::cached_page(std::uint64_t page, Pages& added) {
  if (const auto found = cache_.find(page); found != cache_.end()) {
    cache_order_.splice(cache_order_.end(), cache_order_, found->second->place);
    return found->second;
  }
  auto made = std::make_shared<Cached>();
  std::list<std::uint64_t> place{page};
  added.reserve(added.size() + 1);
  cache_.emplace(page, made);
  if (!make_room_in_cache()) {
    cache_.erase(page);
    return nullptr;
  }
  made->place = place.begin();
  cache_order_.splice(cache_order_.end(), place);
  added.emplace_back(page, made);
  return made;
}

/// Pages that `add(added)` puts into the cache are begun to be read, or are in the cache no more.
template <class Add>
void ObjectFile::add_pages(const Add& add) {
  Pages added;
  try {
    add(added);
    begin_pages(added);
  } catch (...) {
    for (const auto& [page, cached] : added) uncache(page);
    throw;
  }
}

// Handed over under the mutex: a write that comes later finds the pages in the cache, and takes them out. Those of one
// run that follow each other are one operation.
void ObjectFile::begin_pages(const Pages& pages) {
  for (auto first = pages.begin(); first != pages.end();) {
    const std::uint64_t run = first->first * cached_bytes / run_bytes_;
    auto last = std::next(first);
    while (last != pages.end() && last->first == std::prev(last)->first + 1 &&
           last->first * cached_bytes / run_bytes_ == run)
      ++last;
    if (std::next(first) == last || run_bytes_ % cached_bytes != 0)
      for (auto page = first; page != last; ++page)
        begin_read(page->first * cached_bytes, page->second->bytes, page->second->waits, page->second);
    else
      begin_adjacent({first, last});
    first = last;
  }
}

void ObjectFile::begin_adjacent(const Pages& pages) {
  const std::uint64_t offset = pages.front().first * cached_bytes;
  const std::uint64_t number = offset / run_bytes_;
  {
    const Lock lock{mutex_};
    if (run(number) == Run::absent) return;  // their bytes are zeros
    hand_over_gathered(number);
  }
  std::vector<std::span<std::byte>> buffers;
  std::vector<ObjectPool::Done> done;
  for (const auto& [page, cached] : pages) {
    buffers.emplace_back(cached->bytes);
    done.push_back(cached->waits->one(ENOENT));
  }
  folder_->pool->read(run_object(number_, number), offset % run_bytes_, buffers,
                      [self = shared_from_this(), number, pages, done = std::move(done)](int error, std::uint64_t) {
                        // What the run does not have stays as it was made: zeros.
                        if (error == ENOENT) self->note_run(number, Run::absent);
                        for (const ObjectPool::Done& one : done) one(error);
                      });
}

void ObjectFile::read_ahead(std::uint64_t last, Pages& added) {
  // A small share must not lose by it what was just read.
  const std::uint64_t ahead = std::min(pages_ahead, cache_share_->bytes_max() / cached_bytes / 4);
  if (ahead == 0) return;
  const std::uint64_t last_of_file = (size() - 1) / cached_bytes;
  const std::uint64_t middle = std::min(last + 1 + ahead / 2, last_of_file);
  if (middle <= last || cache_.contains(middle)) return;
  std::uint64_t end = std::min(last + 1 + ahead, last_of_file + 1);
  // To the end of a run, so that the next ones are whole.
  if (const std::uint64_t whole = end * cached_bytes / run_bytes_ * run_bytes_ / cached_bytes; whole > middle)
    end = whole;
  for (std::uint64_t page = last + 1; page < end; ++page)
    if (cached_page(page, added) == nullptr) break;
}

void ObjectFile::will_read(std::span<const FileRange> ranges) {
  if (fenced_ || lost_error(owner()) != 0) return;
  const std::uint64_t end = size();
  const Lock lock{ahead_mutex_};
  if (cache_share_ == nullptr) return;
  // What comes first must not make room for what comes last.
  std::uint64_t pages_left = cache_share_->bytes_max() / cached_bytes / 2;
  add_pages([&](Pages& added) PAGESERVER_REQUIRES(ahead_mutex_) {
    for (const FileRange& range : ranges) {
      if (range.length == 0 || range.offset >= end) continue;
      const std::uint64_t last = (std::min(range.offset + range.length, end) - 1) / cached_bytes;
      for (std::uint64_t page = range.offset / cached_bytes; page <= last && pages_left != 0; ++page, --pages_left)
        static_cast<void>(cached_page(page, added));
    }
  });
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
    add_pages([&](Pages& added) PAGESERVER_REQUIRES(ahead_mutex_) {
      for (std::uint64_t page = first; page <= last; ++page) pages.push_back(cached_page(page, added));
      if (runs_on) read_ahead(last, added);
    });
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
