#include "storage/objects/object_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace pageserver::storage {
namespace {

// What all writes of a pool may have under way.
constexpr std::uint64_t under_way_bytes_max = 64ull << 20;
// What each file may have, however much others do.
constexpr std::uint64_t file_under_way_bytes_min = 1ull << 20;
// Operations of one call under way: so many removals, looks or touches.
constexpr std::size_t at_once_max = 64;
// An extent grows by at least so much, so that a file which grows does not change its entry each time.
constexpr std::uint64_t extent_step_bytes = 16ull << 20;

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

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t unit) noexcept { return (bytes + unit - 1) / unit * unit; }

}  // namespace

ObjectCompare ObjectOwner::names_guard() const {
  return {epoch_key(image), ObjectCompare::Kind::equal, encode_epoch(epoch)};
}

ObjectCompare ObjectOwner::run_guard() const {
  return {run_epoch_key, ObjectCompare::Kind::less, encode_epoch(epoch + 1)};
}

ObjectFolder::ObjectFolder(std::shared_ptr<ObjectPool> of, PoolName of_name, std::uint64_t number)
    : pool{std::move(of)},
      pool_name{std::move(of_name)},
      device{number},
      room{under_way_bytes_max, file_under_way_bytes_min} {}

ObjectOwnerRef ObjectFolder::owner_of(const std::string& name) {
  const std::string image = image_of(name);
  const Lock lock{mutex};
  const auto found = owners.find(image);
  return found == owners.end() ? nullptr : found->second;
}

int ObjectFolder::change_names(ObjectChange change, const ObjectOwnerRef& owner) {
  const bool guarded = owner && owner->guarded();
  if (guarded && owner->lease->lost()) return taken_over_error;
  change.create = true;
  if (guarded) change.compares.push_back(owner->names_guard());
  const auto changed = [&] {
    return waited([&](ObjectPool::Done done) { pool->change(names_object, change, std::move(done)); });
  };
  int error = changed();
  if (error == ENOENT) {
    // Of an object that is not there no compare holds.
    ObjectChange make;
    make.create = true;
    error = waited([&](ObjectPool::Done done) { pool->change(names_object, make, std::move(done)); });
    if (error == 0) error = changed();
  }
  if (error == ESHUTDOWN && owner) owner->lease->lose("the cluster shut this client out (blocklist)");
  if (error == ESHUTDOWN) return taken_over_error;
  if (error != ECANCELED || !guarded) return error;
  std::map<std::string, std::string> values;
  const std::string key = epoch_key(owner->image);
  if (const int failed = pool->get(names_object, {key}, values); failed != 0) return failed;
  if (values[key] == encode_epoch(owner->epoch)) return ECANCELED;
  owner->lease->lose("its epoch " + std::to_string(owner->epoch) + " was followed by " +
                     std::to_string(decode_epoch(values[key])));
  return taken_over_error;
}

int ObjectFolder::entry_of(const std::string& name, std::optional<ObjectEntry>& entry, std::string* value) {
  std::map<std::string, std::string> values;
  const std::string key = name_key(name);
  if (const int error = pool->get(names_object, {key}, values); error != 0) return error;
  entry.reset();
  const auto found = values.find(key);
  if (found == values.end()) return 0;
  entry = decode_entry(found->second);
  if (!entry) return EIO;
  if (value != nullptr) *value = found->second;
  return 0;
}

namespace {

/// Removes one run after the other, a few at a time, on the pool's threads.
struct Removal : std::enable_shared_from_this<Removal> {
  std::shared_ptr<ObjectPool> pool;
  std::uint64_t file = 0;
  std::uint64_t runs = 0;
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<bool> failed{false};

  void go_on() {
    const std::uint64_t run = next++;
    if (run >= runs) return;
    ObjectChange change;
    change.remove = true;
    pool->change(run_object(file, run), change, [self = shared_from_this()](int error) { self->removed(error); });
  }
  void removed(int error) {
    if (error != 0 && error != ENOENT) failed = true;
    if (++ended == runs) return end();
    go_on();
  }
  // What could not be removed stays known, for whoever opens the image next.
  void end() {
    if (failed) return;
    ObjectChange change;
    change.unset.push_back(removed_key(file));
    pool->change(names_object, change, [](int) {});
    ObjectChange lock;
    lock.remove = true;
    pool->change(lock_object(file), lock, [](int) {});
  }
};

}  // namespace

void ObjectFolder::remove_runs(std::uint64_t file, const RemovedEntry& removed) {
  const auto removal = std::make_shared<Removal>();
  removal->pool = pool;
  removal->file = file;
  removal->runs = rounded_up(removed.extent_bytes, removed.run_bytes) / removed.run_bytes;
  if (removal->runs == 0) return removal->end();
  const std::uint64_t first = std::min<std::uint64_t>(removal->runs, at_once_max);
  for (std::uint64_t i = 0; i < first; ++i) removal->go_on();
}

ObjectFile::ObjectFile(std::shared_ptr<ObjectFolder> folder, std::string name, const ObjectEntry& entry, bool made)
    : folder_{std::move(folder)},
      number_{entry.file},
      mode_{entry.mode},
      birth_ns_{entry.birth_ns},
      run_bytes_{entry.run_bytes},
      size_{entry.size_bytes},
      extent_{entry.extent_bytes},
      fenced_{entry.run_bytes == log_run_bytes},
      entry_{entry},
      name_{std::move(name)},
      owner_{folder_->owner_of(name_)},
      made_{made} {}

ObjectEntry ObjectFile::entry() {
  const Lock lock{entry_mutex_};
  return entry_;
}

bool ObjectFile::removed() {
  const Lock lock{entry_mutex_};
  return removed_;
}

bool ObjectFile::is_ours() {
  const Lock lock{mutex_};
  return made_ || (owner_ && owner_->exclusive);
}

ObjectOwnerRef ObjectFile::owner() {
  const Lock lock{mutex_};
  return owner_;
}

void ObjectFile::set_owner(ObjectOwnerRef owner) {
  const Lock lock{mutex_};
  owner_ = std::move(owner);
  if (!made_) runs_.clear();
}

void ObjectFile::set_name(const std::string& name) {
  const Lock lock{entry_mutex_};
  name_ = name;
}

void ObjectFile::note_removed() {
  const Lock lock{entry_mutex_};
  removed_ = true;
}

/// Sizes of the runs from `first` to the extent's end; 0 for one that is not there.
int ObjectFile::look_at_runs(std::uint64_t first, std::vector<std::uint64_t>& sizes) {
  const std::uint64_t end = rounded_up(extent_, run_bytes_) / run_bytes_;
  sizes.assign(end > first ? end - first : 0, 0);
  const auto waits = std::make_shared<ObjectWaits>();
  const auto found = std::make_shared<std::vector<std::uint64_t>>(sizes.size(), 0);
  for (std::uint64_t run = first; run < end; ++run) {
    waits->wait_for_few(at_once_max);
    folder_->pool->look(run_object(number_, run),
                        [done = waits->one(ENOENT), found, at = run - first](int error, std::uint64_t bytes) {
                          if (error == 0) (*found)[at] = bytes;
                          done(error);
                        });
  }
  const int error = waits->wait();
  sizes = *found;
  return error;
}

int ObjectFile::load(const ObjectEntry& entry) {
  {
    const Lock lock{entry_mutex_};
    entry_ = entry;
  }
  {
    const Lock lock{ahead_mutex_};
    forget(0, ~0ull);
  }
  extent_ = entry.extent_bytes;
  std::uint64_t size = entry.size_bytes;
  if (entry.extent_bytes > entry.size_bytes) {
    const std::uint64_t first = entry.size_bytes / run_bytes_;
    std::vector<std::uint64_t> sizes;
    if (const int error = look_at_runs(first, sizes); error != 0) return error;
    for (std::size_t i = 0; i < sizes.size(); ++i)
      if (sizes[i] != 0) size = std::max(size, (first + i) * run_bytes_ + sizes[i]);
  }
  size_.store(size, std::memory_order_release);
  return 0;
}

std::string ObjectFile::name() {
  const Lock lock{entry_mutex_};
  return name_;
}

int ObjectFile::look_again() {
  std::optional<ObjectEntry> found;
  if (const int error = folder_->entry_of(name(), found); error != 0) return error;
  if (!found || found->file != number_) return ENOENT;
  return load(*found);
}

int ObjectFile::touch_all(const ObjectOwnerRef& owner) {
  std::optional<ObjectEntry> found;
  if (const int error = folder_->entry_of(name(), found); error != 0) return error;
  if (!found || found->file != number_) return 0;
  extent_ = found->extent_bytes;
  const auto waits = std::make_shared<ObjectWaits>();
  for (std::uint64_t run = 0; run * run_bytes_ < extent_; ++run) {
    waits->wait_for_few(at_once_max);
    ObjectChange touch;
    touch.compares.push_back(owner->run_guard());
    touch.set.emplace_back(run_epoch_key, encode_epoch(owner->epoch));
    folder_->pool->change(run_object(number_, run), touch, waits->one(ENOENT));
  }
  return waits->wait();
}

int ObjectFile::lost_error(const ObjectOwnerRef& owner) const noexcept {
  return owner && owner->lease->lost() ? taken_over_error : 0;
}

int ObjectFile::usable(const ObjectOwnerRef& owner) {
  if (const int lost = lost_error(owner); lost != 0) return lost;
  return error_;
}

ObjectFile::Run ObjectFile::run(std::uint64_t number) {
  if (number < runs_.size() && runs_[number] != Run::unknown) return runs_[number];
  return made_ ? Run::absent : Run::unknown;
}

void ObjectFile::set_run(std::uint64_t number, Run what) {
  if (number >= runs_.size()) runs_.resize(number + 1, Run::unknown);
  runs_[number] = what;
}

void ObjectFile::note_run(std::uint64_t number, Run what) {
  const Lock lock{mutex_};
  if (what == Run::absent && (!owner_ || !owner_->exclusive)) return;  // another may make it
  if (number < runs_.size() && runs_[number] == Run::there) return;    // written meanwhile
  set_run(number, what);
}

void ObjectFile::change_run(std::uint64_t number, ObjectChange change, const ObjectOwnerRef& owner,
                            std::uint64_t bytes) {
  const std::string object = run_object(number_, number);
  const bool guarded = owner && owner->guarded();
  if (guarded) {
    change.compares.push_back(owner->run_guard());
    change.set.emplace_back(run_epoch_key, encode_epoch(owner->epoch));
  }
  const std::uint64_t turn = queue_.begin();
  // One after the other on the same object: under the mutex, so that no other write comes between them.
  Lock lock{mutex_};
  // Whoever gives the lock up waits for what was handed over before: see settle().
  if (owner && owner->lease->lost()) {
    lock.unlock();
    return landed(turn, taken_over_error, owner, bytes);
  }
  if (run(number) != Run::there) {
    ObjectChange make;
    make.create = true;
    if (!fenced_) folder_->pool->change(object, make, [](int) {});
    set_run(number, Run::there);
  }
  folder_->pool->change(object, change, [self = shared_from_this(), turn, owner, bytes](int error) {
    self->landed(turn, error, owner, bytes);
  });
}

void ObjectFile::landed(std::uint64_t turn, int error, const ObjectOwnerRef& owner, std::uint64_t bytes) {
  if (error != 0) {
    const bool gone = error == ENOENT && fenced_;
    if (owner && owner->guarded() && (error == ECANCELED || gone))
      owner->lease->lose("another with a later epoch than " + std::to_string(owner->epoch) +
                         (gone ? " has removed the log that it wrote to" : " has taken what it wrote to"));
    else if (owner && error == ESHUTDOWN)
      owner->lease->lose("the cluster shut this client out (blocklist)");
    int none = 0;
    error_.compare_exchange_strong(none, lost_error(owner) != 0 ? taken_over_error : error);
  }
  if (bytes != 0) folder_->room.give_back(under_way_, bytes);
  queue_.end(turn);
}

// The runs of a fenced file are made before its entry tells of them, and the entry is changed under the guard. So
// whoever takes over finds all of them: see docs/homes.md.
int ObjectFile::make_runs(std::uint64_t from_bytes, std::uint64_t until_bytes) {
  const auto waits = std::make_shared<ObjectWaits>();
  for (std::uint64_t at = from_bytes / run_bytes_; at * run_bytes_ < until_bytes; ++at) {
    waits->wait_for_few(at_once_max);
    ObjectChange make;
    make.create = true;
    folder_->pool->change(run_object(number_, at), make, waits->one());
  }
  return waits->wait();
}

int ObjectFile::change_entry(ObjectEntry entry) {
  const ObjectOwnerRef owner = this->owner();
  if (fenced_ && entry.extent_bytes > entry_.extent_bytes)
    if (const int error = make_runs(entry_.extent_bytes, entry.extent_bytes); error != 0) return error;
  ObjectChange change;
  if (removed_) {
    change.compares.push_back({removed_key(number_), ObjectCompare::Kind::less, "2"});
    change.set.emplace_back(removed_key(number_),
                            encode_removed({owner ? owner->image : 0, entry.extent_bytes, run_bytes_}));
  } else {
    change.compares.push_back({name_key(name_), ObjectCompare::Kind::equal, encode_entry(entry_)});
    change.set.emplace_back(name_key(name_), encode_entry(entry));
  }
  const int error = folder_->change_names(std::move(change), owner);
  if (error == ECANCELED) return ESTALE;  // renamed or changed by somebody without the lock
  if (error == 0) entry_ = entry;
  return error;
}

int ObjectFile::ensure_extent(std::uint64_t end) {
  if (end <= extent_) return 0;
  const Lock lock{entry_mutex_};
  if (end <= extent_) return 0;
  ObjectEntry entry = entry_;
  entry.extent_bytes =
      rounded_up(std::max(end, extent_ + std::min<std::uint64_t>(extent_, extent_step_bytes)), run_bytes_);
  if (const int error = change_entry(entry); error != 0) return error;
  extent_ = entry.extent_bytes;
  return 0;
}

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

IoResult ObjectFile::write(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) {
  const ObjectOwnerRef owner = this->owner();
  if (const int error = usable(owner); error != 0) return error_result(error);
  std::uint64_t total = 0;
  for (const auto& part : parts) total += part.size();
  if (total == 0) return {0, 0};
  if (const int error = ensure_extent(offset + total); error != 0) return error_result(error);
  std::size_t part = 0, skipped = 0;
  for (std::uint64_t done = 0; done < total;) {
    const std::uint64_t at = offset + done;
    std::uint64_t room = std::min(run_bytes_ - at % run_bytes_, total - done);
    const std::uint64_t bytes = room;
    ObjectChange change;
    change.offset = at % run_bytes_;
    while (room != 0) {
      const auto rest = parts[part].subspan(skipped);
      const auto now = rest.first(static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), room)));
      if (!now.empty()) change.bytes.push_back(now);
      room -= now.size();
      skipped += now.size();
      if (skipped == parts[part].size()) ++part, skipped = 0;
    }
    folder_->room.take(under_way_, bytes);
    change_run(at / run_bytes_, std::move(change), owner, bytes);
    done += bytes;
  }
  {
    const Lock lock{ahead_mutex_};
    forget(offset, total);
    keep_tail(offset + total, parts.back());
  }
  for (std::uint64_t was = size_; was < offset + total && !size_.compare_exchange_weak(was, offset + total);) {
  }
  return {static_cast<std::int64_t>(total), 0};
}

IoResult ObjectFile::truncate(std::uint64_t size_bytes) {
  const ObjectOwnerRef owner = this->owner();
  if (const int error = usable(owner); error != 0) return error_result(error);
  const std::uint64_t was = size();
  if (size_bytes == was && entry().size_bytes == was) return {0, 0};
  constexpr std::uint64_t size_max = 1ull << 50;
  if (size_bytes > size_max) return error_result(EFBIG);
  if (size_bytes < was) {
    // The bytes behind the new end must read as zeros should the file grow again.
    if (const IoResult punched = punch_hole(size_bytes, was - size_bytes); !punched.ok()) return punched;
    if (const IoResult synced = sync(); !synced.ok()) return synced;
  }
  {
    const Lock lock{entry_mutex_};
    ObjectEntry entry = entry_;
    entry.size_bytes = size_bytes;
    entry.extent_bytes = std::max<std::uint64_t>(extent_, rounded_up(size_bytes, run_bytes_));
    if (const int error = change_entry(entry); error != 0) return error_result(error);
    extent_ = entry.extent_bytes;
  }
  size_.store(size_bytes, std::memory_order_release);
  const Lock lock{ahead_mutex_};
  forget(0, ~0ull);
  return {0, 0};
}

IoResult ObjectFile::reserve(std::uint64_t offset, std::uint64_t length) {
  if (const int error = usable(owner()); error != 0) return error_result(error);
  const int error = ensure_extent(offset + length);
  return error != 0 ? error_result(error) : IoResult{0, 0};
}

// A run that becomes empty stays, with the epoch of who emptied it: without it a late write of an earlier owner would
// find nothing that refuses it.
IoResult ObjectFile::punch_hole(std::uint64_t offset, std::uint64_t length) {
  const ObjectOwnerRef owner = this->owner();
  if (const int error = usable(owner); error != 0) return error_result(error);
  const std::uint64_t end = std::min(offset + length, rounded_up(extent_, run_bytes_));
  while (offset < end) {
    const std::uint64_t number = offset / run_bytes_;
    const std::uint64_t within = offset % run_bytes_;
    const std::uint64_t bytes = std::min(run_bytes_ - within, end - offset);
    offset += bytes;
    bool skips = false;
    {
      const Lock lock{mutex_};
      skips = run(number) == Run::absent && !(owner && owner->taken_over);
    }
    if (skips) continue;
    ObjectChange change;
    change.offset = within;
    if (within + bytes == run_bytes_)
      change.truncate = true;
    else
      change.zero_bytes = bytes;
    change_run(number, std::move(change), owner, 0);
  }
  const Lock lock{ahead_mutex_};
  forget(0, ~0ull);
  return {0, 0};
}

// To a run, which is the finest that is known without reading.
IoResult ObjectFile::seek(std::uint64_t offset, bool data) {
  if (const int lost = lost_error(owner()); lost != 0) return error_result(lost);
  const std::uint64_t end = size();
  if (offset >= end) return error_result(ENXIO);
  constexpr std::uint64_t looked_at_once = 64;
  for (std::uint64_t first = offset / run_bytes_; first * run_bytes_ < end; first += looked_at_once) {
    const std::uint64_t last = std::min(first + looked_at_once, rounded_up(end, run_bytes_) / run_bytes_);
    const auto has_data = std::make_shared<std::vector<char>>(last - first, 0);
    const auto waits = std::make_shared<ObjectWaits>();
    for (std::uint64_t number = first; number < last; ++number) {
      {
        const Lock lock{mutex_};
        if (run(number) == Run::absent) continue;
      }
      folder_->pool->look(run_object(number_, number),
                          [self = shared_from_this(), number, has_data, at = number - first, done = waits->one(ENOENT)](
                              int error, std::uint64_t bytes) {
                            if (error == ENOENT) self->note_run(number, Run::absent);
                            (*has_data)[at] = error == 0 && bytes != 0 ? 1 : 0;
                            done(error);
                          });
    }
    if (const int error = waits->wait(); error != 0) return error_result(error);
    for (std::uint64_t number = first; number < last; ++number)
      if (((*has_data)[number - first] != 0) == data)
        return {static_cast<std::int64_t>(std::max(offset, number * run_bytes_)), 0};
  }
  return data ? error_result(ENXIO) : IoResult{static_cast<std::int64_t>(end), 0};
}

void ObjectFile::settle() {
  { const Lock lock{mutex_}; }
  queue_.wait();
}

IoResult ObjectFile::sync() {
  queue_.wait();
  if (const int error = usable(owner()); error != 0) return error_result(error);
  return {0, 0};
}

}  // namespace pageserver::storage
