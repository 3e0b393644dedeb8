#include "storage/objects/object_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

namespace pageserver::storage {
namespace {

// What all writes of a pool may have under way.
constexpr std::uint64_t under_way_bytes_max = 64ull << 20;
// What each file may have, however much others do; and at most. More than an OSD has in hand waits there, leaves the
// processor's caches before it is looked at, and holds up whoever comes next: a flush, and the lease.
constexpr std::uint64_t file_under_way_bytes_min = 1ull << 20;
constexpr std::uint64_t file_under_way_bytes_max = 8ull << 20;
// So much of what comes meanwhile is one operation.
constexpr std::uint64_t gathered_bytes_max = 1ull << 20;
// Operations of one call under way: so many removals, looks or touches.
constexpr std::size_t at_once_max = 64;
// An extent grows by at least so much, so that a file which grows does not change its entry each time.
constexpr std::uint64_t extent_step_bytes = 16ull << 20;

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
      room{under_way_bytes_max, file_under_way_bytes_min, file_under_way_bytes_max} {}

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
  std::shared_ptr<ObjectFile> written;
  {
    const Lock lock{mutex};
    if (const auto known = files.find(file); known != files.end()) written = known->second.lock();
  }
  // Nothing of it may come behind its removal.
  if (written) written->hand_over_all();
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
  for (Run& run : runs_)
    if (run == Run::ours) run = Run::there;
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
  hand_over_all();
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
  const Run known = run(number);
  if (known == Run::there || known == Run::ours) return;  // written meanwhile
  set_run(number, what);
}

void ObjectFile::change_run(std::uint64_t number, ObjectChange change, const ObjectOwnerRef& owner,
                            std::uint64_t bytes) {
  AllTaken taken(1);
  taken.front() = {queue_.begin(), bytes};
  // One after the other on the same object: under the mutex, so that no other write comes between them.
  Lock lock{mutex_};
  if (gather(number, change, owner, taken.front())) return;
  hand_over_gathered(number);
  hand_over(number, std::move(change), owner, std::move(taken));
}

bool ObjectFile::gather(std::uint64_t number, const ObjectChange& change, const ObjectOwnerRef& owner, Taken taken) {
  const auto found = gathered_.find(number);
  if (found == gathered_.end() || change.bytes.empty() || !owner || !owner->guarded()) return false;
  Gathered& gathered = found->second;
  const bool adjoins =
      gathered.taken.empty() || (gathered.owner == owner && change.offset == gathered.offset + gathered.bytes.size());
  if (!adjoins || gathered.bytes.size() + taken.bytes > gathered_bytes_max) return false;
  try {
    const std::size_t bytes = gathered.bytes.size() + static_cast<std::size_t>(taken.bytes);
    if (gathered.bytes.capacity() < bytes) gathered.bytes.reserve(std::max(bytes, 2 * gathered.bytes.capacity()));
    gathered.taken.push_back(taken);
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (gathered.taken.size() == 1) {
    gathered.offset = change.offset;
    gathered.owner = owner;
  }
  for (const auto& part : change.bytes) gathered.bytes.insert(gathered.bytes.end(), part.begin(), part.end());
  return true;
}

void ObjectFile::hand_over_gathered(std::uint64_t number) noexcept {
  const auto found = gathered_.find(number);
  if (found == gathered_.end() || found->second.taken.empty()) return;
  const std::vector<std::byte> bytes = std::exchange(found->second.bytes, {});
  AllTaken taken = std::exchange(found->second.taken, {});
  const ObjectOwnerRef owner = std::exchange(found->second.owner, nullptr);
  try {
    ObjectChange change;
    change.offset = found->second.offset;
    change.bytes.emplace_back(bytes);
    hand_over(number, std::move(change), owner, std::move(taken));
  } catch (const std::bad_alloc&) {
    landed(taken, ENOMEM, owner);
  }
}

void ObjectFile::hand_over_all() {
  const Lock lock{mutex_};
  // Where it fails at once, a run may leave the map.
  std::vector<std::uint64_t> runs;
  for (const auto& [number, gathered] : gathered_) runs.push_back(number);
  for (const std::uint64_t number : runs) hand_over_gathered(number);
}

void ObjectFile::hand_over(std::uint64_t number, ObjectChange change, const ObjectOwnerRef& owner,
                           AllTaken taken) noexcept {
  // Whoever gives the lock up waits for what was handed over before: see settle().
  if (owner && owner->lease->lost()) return landed(taken, taken_over_error, owner);
  const bool guarded = owner && owner->guarded();
  const std::thread::id outer = hands_over_.exchange(std::this_thread::get_id());
  bool counted = false;
  try {
    const std::string object = run_object(number_, number);
    const Run known = run(number);
    const bool sets_epoch = guarded && known != Run::ours;
    if (guarded) change.compares.push_back(owner->run_guard());
    if (sets_epoch) change.set.emplace_back(run_epoch_key, encode_epoch(owner->epoch));
    ObjectPool::Done done = [self = shared_from_this(), taken, owner, number, guarded, sets_epoch](int error) {
      if (guarded) self->ended(number, error, owner, sets_epoch);
      self->landed(taken, error, owner);
    };
    if (known != Run::there && known != Run::ours) {
      ObjectChange make;
      make.create = true;
      if (!fenced_) folder_->pool->change(object, make, [](int) {});
      set_run(number, Run::there);
    }
    if (guarded) ++gathered_[number].under_way;
    counted = guarded;
    folder_->pool->change(object, change, std::move(done));
  } catch (const std::bad_alloc&) {
    if (counted) go_on(number, owner, false);
    landed(taken, ENOMEM, owner);
  }
  hands_over_ = outer;
}

// Within a call of the pool by hand_over() the mutex is held already.
void ObjectFile::ended(std::uint64_t number, int error, const ObjectOwnerRef& owner, bool sets_epoch) noexcept {
  // Only an operation that was carried out says so: where one was refused, for want of room maybe, the next sets it.
  const bool epoch_set = sets_epoch && error == 0;
  if (hands_over_ == std::this_thread::get_id()) return go_on(number, owner, epoch_set);
  const Lock lock{mutex_};
  go_on(number, owner, epoch_set);
}

void ObjectFile::go_on(std::uint64_t number, const ObjectOwnerRef& owner, bool epoch_set) noexcept {
  if (epoch_set && owner_ == owner) set_run(number, Run::ours);
  const auto found = gathered_.find(number);
  --found->second.under_way;
  if (!found->second.taken.empty())
    hand_over_gathered(number);
  else if (found->second.under_way == 0)
    gathered_.erase(found);
}

void ObjectFile::landed(const AllTaken& taken, int error, const ObjectOwnerRef& owner) noexcept {
  if (error != 0) {
    const bool gone = error == ENOENT && fenced_;
    const bool deposed = owner && owner->guarded() && (error == ECANCELED || gone);
    try {
      if (deposed)
        owner->lease->lose("another with a later epoch than " + std::to_string(owner->epoch) +
                           (gone ? " has removed the log that it wrote to" : " has taken what it wrote to"));
      else if (owner && error == ESHUTDOWN)
        owner->lease->lose("the cluster shut this client out (blocklist)");
    } catch (const std::bad_alloc&) {
      owner->lease->lose("it was deposed");  // few enough letters to take none
    }
    int none = 0;
    error_.compare_exchange_strong(none, lost_error(owner) != 0 ? taken_over_error : error);
  }
  for (const Taken& one : taken) {
    if (one.bytes != 0) folder_->room.give_back(under_way_, one.bytes);
    queue_.end(one.turn);
  }
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
  if (size_bytes > objects_file_bytes_max) return error_result(EFBIG);
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
  const std::uint64_t begin = offset;
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
  forget(begin, length);
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
        hand_over_gathered(number);
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
