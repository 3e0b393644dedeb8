#include "storage/objects/object_file_system.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include "base/process_mark.hpp"
#include "base/random.hpp"
#include "storage/file/home_module.hpp"
#include "storage/file/siblings.hpp"
#include "storage/objects/lease_keeper.hpp"
#include "storage/objects/object_answer.hpp"
#include "storage/objects/take_over.hpp"

namespace pageserver::storage {
namespace {

constexpr int tries_max = 16;
constexpr std::chrono::milliseconds lock_poll{100};

std::int64_t time_of(clockid_t clock) noexcept {
  struct timespec time {};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

/// Its owner here was followed by another, maybe by this process again: what is opened now is not the same.
bool is_lost(ObjectFile& file) {
  const ObjectOwnerRef owner = file.owner();
  return owner && owner->lease->lost();
}

std::uint64_t number_of(const PoolName& name) {
  std::uint64_t hash = 14695981039346656037u;
  for (const std::string* const text : {&name.pool, &name.name_space, &name.configuration})
    for (const char c : *text + '\n') hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

ObjectFileSystem::ObjectFileSystem(ObjectPools& pools) : ObjectFileSystem{pools, Times{}} {}

ObjectFileSystem::ObjectFileSystem(ObjectPools& pools, const Times& times)
    : pools_{pools},
      times_{times},
      process_{base::process_mark()},
      keeper_{std::make_unique<LeaseKeeper>(times.lease_ms, times.renew_ms)},
      next_{home_descriptors_begin} {}

ObjectFileSystem::~ObjectFileSystem() = default;

bool ObjectFileSystem::in_our_process() const noexcept { return process_ == base::process_mark(); }

IoResult ObjectFileSystem::folder_of(const PoolName& pool, FolderRef& folder) {
  if (!in_our_process()) return error_result(ENOTCONN);
  {
    const Lock lock{mutex_};
    if (const auto found = folders_.find(pool); found != folders_.end()) {
      folder = found->second;
      return {};
    }
  }
  int error = 0;
  auto opened_pool = pools_.open(pool, error);
  if (!opened_pool) return error_result(error);
  const auto made = std::make_shared<ObjectFolder>(std::move(opened_pool), pool, number_of(pool));
  const Lock lock{mutex_};
  folder = folders_.try_emplace(pool, made).first->second;
  return {};
}

IoResult ObjectFileSystem::give_number(Opened opened) {
  auto one = std::make_shared<Opened>(std::move(opened));
  const Lock lock{mutex_};
  while (opened_.contains(next_)) next_ = next_ == INT32_MAX ? home_descriptors_begin : next_ + 1;
  const int number = next_;
  opened_.emplace(number, one);
  next_ = next_ == INT32_MAX ? home_descriptors_begin : next_ + 1;
  if (one->file) ++one->file->opens;
  return {number, 0};
}

std::shared_ptr<ObjectFileSystem::Opened> ObjectFileSystem::opened(int file) {
  if (!in_our_process()) return nullptr;
  const Lock lock{mutex_};
  const auto found = opened_.find(file);
  return found == opened_.end() ? nullptr : found->second;
}

IoResult ObjectFileSystem::file_at(int file, FileRef& found, bool to_write) {
  const auto one = opened(file);
  if (!one || (to_write && !one->writes)) return error_result(EBADF);
  if (!one->file) return error_result(EISDIR);
  found = one->file;
  return {};
}

IoResult ObjectFileSystem::folder_at(int file, FolderRef& found) {
  const auto one = opened(file);
  if (!one) return error_result(EBADF);
  if (one->file) return error_result(ENOTDIR);
  found = one->folder;
  return {};
}

ObjectFileSystem::FileRef ObjectFileSystem::file_of(const FolderRef& folder, const std::string& name,
                                                    const ObjectEntry& entry, bool made) {
  {
    const Lock lock{folder->mutex};
    if (const auto found = folder->files.find(entry.file); found != folder->files.end())
      if (FileRef file = found->second.lock(); file && !is_lost(*file)) return file;
  }
  auto file = std::make_shared<ObjectFile>(folder, name, entry, made);
  const Lock lock{folder->mutex};
  std::erase_if(folder->files, [](const auto& one) { return one.second.expired(); });
  auto& known = folder->files[entry.file];
  if (FileRef other = known.lock(); other && !is_lost(*other)) return other;
  known = file;
  return file;
}

void ObjectFileSystem::note_change(ObjectFolder& folder) noexcept {
  const std::int64_t now = time_of(CLOCK_REALTIME_COARSE);
  for (std::int64_t was = folder.changed_ns; was < now && !folder.changed_ns.compare_exchange_weak(was, now);) {
  }
}

IoResult ObjectFileSystem::open_in(const FolderRef& folder, const std::string& name, int flags, std::uint32_t mode) {
  if (name.empty() || name == ".") {
    if ((flags & O_ACCMODE) != O_RDONLY) return error_result(EISDIR);
    return give_number({folder, nullptr, false, nullptr});
  }
  if (name == ".." || name.find('/') != std::string::npos) return error_result(EXDEV);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  for (int attempt = 0; attempt < tries_max; ++attempt) {
    std::optional<ObjectEntry> entry;
    if (const int error = folder->entry_of(name, entry); error != 0) return error_result(error);
    if (entry) {
      if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return error_result(EEXIST);
      if ((flags & O_DIRECTORY) != 0) return error_result(ENOTDIR);
      const FileRef file = file_of(folder, name, *entry, false);
      if (!file->is_ours())
        if (const int error = file->load(*entry); error != 0) return error_result(error);
      // A file of a log that is found after the lock was taken: where it ends is told by its runs.
      if (file->opens == 0 && file->is_ours())
        if (const int error = file->load(*entry); error != 0) return error_result(error);
      if ((flags & O_TRUNC) != 0 && writes)
        if (const IoResult cut = file->truncate(0); !cut.ok()) return cut;
      return give_number({folder, file, writes, nullptr});
    }
    if ((flags & O_CREAT) == 0) return error_result(ENOENT);
    ObjectEntry made;
    made.file = base::random_number();
    made.mode = mode & 0777;
    made.birth_ns = time_of(CLOCK_REALTIME);
    made.run_bytes = is_fenced(name) ? log_run_bytes : image_run_bytes;
    ObjectChange change;
    change.compares.push_back({name_key(name), ObjectCompare::Kind::equal, {}});
    change.set.emplace_back(name_key(name), encode_entry(made));
    const int error = folder->change_names(std::move(change), folder->owner_of(name));
    if (error == ECANCELED) continue;  // there is one now
    if (error != 0) return error_result(error);
    note_change(*folder);
    return give_number({folder, file_of(folder, name, made, true), writes, nullptr});
  }
  return error_result(EAGAIN);
}

IoResult ObjectFileSystem::open(const std::string& path, int flags, std::uint32_t mode) {
  return answered([&] {
    const auto parsed = parse_home_path(path);
    if (!parsed) return error_result(EINVAL);
    FolderRef folder;
    if (const IoResult found = folder_of(parsed->pool, folder); !found.ok()) return found;
    return open_in(folder, parsed->name, flags, mode);
  });
}

IoResult ObjectFileSystem::open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) {
  return answered([&] {
    FolderRef folder;
    if (const IoResult found = folder_at(directory, folder); !found.ok()) return found;
    return open_in(folder, name, flags, mode);
  });
}

void ObjectFileSystem::end_file(const FolderRef& folder, const FileRef& file) {
  if (!file->removed()) return;
  static_cast<void>(file->sync());  // nothing of it is under way any more that could make a run again
  const ObjectEntry entry = file->entry();
  const ObjectOwnerRef owner = file->owner();
  folder->remove_runs(entry.file, {owner ? owner->image : 0, entry.extent_bytes, entry.run_bytes});
}

int ObjectFileSystem::close(int file) noexcept {
  if (!in_our_process()) return 0;
  const IoResult closed = answered([&]() -> IoResult {
    std::shared_ptr<Opened> one;
    {
      const Lock lock{mutex_};
      const auto found = opened_.find(file);
      if (found == opened_.end()) return error_result(EBADF);
      one = found->second;
      opened_.erase(found);
    }
    give_back(one);
    if (one->file && --one->file->opens == 0) {
      one->file->drop_cache();
      end_file(one->folder, one->file);
    }
    return {};
  });
  return closed.error;
}

template <class Call>
IoResult ObjectFileSystem::on_file(int file, bool to_write, const Call& call) noexcept {
  return answered([&] {
    FileRef found;
    const IoResult there = file_at(file, found, to_write);
    return there.ok() ? call(*found) : there;
  });
}

IoResult ObjectFileSystem::read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) {
  return on_file(file, false, [&](ObjectFile& found) { return found.read(offset, buffer); });
}

IoResult ObjectFileSystem::read_until(int file, std::uint64_t offset, std::span<std::byte> buffer, Moment deadline) {
  return on_file(file, false, [&](ObjectFile& found) { return found.read(offset, buffer, deadline); });
}

IoResult ObjectFileSystem::write_at(int file, std::uint64_t offset, std::span<const std::byte> data) {
  return write_parts_at(file, offset, std::span{&data, 1});
}

IoResult ObjectFileSystem::write_parts_at(int file, std::uint64_t offset,
                                          std::span<const std::span<const std::byte>> parts) {
  return on_file(file, true, [&](ObjectFile& found) { return found.write(offset, parts); });
}

IoResult ObjectFileSystem::truncate(int file, std::uint64_t size_bytes) {
  return on_file(file, true, [&](ObjectFile& found) { return found.truncate(size_bytes); });
}

IoResult ObjectFileSystem::reserve(int file, std::uint64_t offset, std::uint64_t length) {
  return on_file(file, true, [&](ObjectFile& found) { return found.reserve(offset, length); });
}

IoResult ObjectFileSystem::punch_hole(int file, std::uint64_t offset, std::uint64_t length) {
  return on_file(file, true, [&](ObjectFile& found) { return found.punch_hole(offset, length); });
}

IoResult ObjectFileSystem::seek_data(int file, std::uint64_t offset) {
  return on_file(file, false, [&](ObjectFile& found) { return found.seek(offset, true); });
}

IoResult ObjectFileSystem::seek_hole(int file, std::uint64_t offset) {
  return on_file(file, false, [&](ObjectFile& found) { return found.seek(offset, false); });
}

// What was written is on its way already.
void ObjectFileSystem::start_writeback(int, std::uint64_t, std::uint64_t) noexcept {}
void ObjectFileSystem::drop_from_memory(int, std::uint64_t, std::uint64_t) noexcept {}

IoResult ObjectFileSystem::sync_data(int file) {
  return answered([&]() -> IoResult {
    const auto one = opened(file);
    if (!one) return error_result(EBADF);
    // Names are changed by operations that are waited for.
    return one->file ? one->file->sync() : IoResult{};
  });
}

IoResult ObjectFileSystem::sync(int file) { return sync_data(file); }

void ObjectFileSystem::fill(const ObjectFolder& folder, FileStatus& status) {
  status = {};
  status.device = folder.device;
  status.uid = ::geteuid();
  status.gid = ::getegid();
  status.links = 1;
  status.direct_reads = true;
  status.mode = S_IFDIR | 0755;
  status.inode = 1;
  status.birth_ns = 1;
  status.changed_ns = folder.changed_ns;
  status.modified_ns = time_of(CLOCK_REALTIME);  // others change names, too: no listing may be kept
}

namespace {

void describe(const ObjectEntry& entry, std::uint64_t size_bytes, FileStatus& status) {
  status.size_bytes = size_bytes;
  status.allocated_bytes = size_bytes;
  status.inode = entry.file;
  status.birth_ns = entry.birth_ns;
  status.mode = S_IFREG | entry.mode;
  status.modified_ns = 0;
  status.changed_ns = 0;
}

}  // namespace

IoResult ObjectFileSystem::size(int file) {
  FileStatus found;
  const IoResult looked = status(file, found);
  return looked.ok() ? IoResult{static_cast<std::int64_t>(found.size_bytes), 0} : looked;
}

IoResult ObjectFileSystem::status(int file, FileStatus& status) {
  return answered([&]() -> IoResult {
    const auto one = opened(file);
    if (!one) return error_result(EBADF);
    fill(*one->folder, status);
    if (!one->file) return {};
    if (!one->file->is_ours() && !one->file->removed())
      if (const int error = one->file->look_again(); error != 0) return error_result(error);
    describe(one->file->entry(), one->file->size(), status);
    if (one->file->removed()) status.links = 0;
    return {};
  });
}

IoResult ObjectFileSystem::status_in(const FolderRef& folder, const std::string& name, FileStatus& status) {
  fill(*folder, status);
  if (name.empty()) return {};
  if (name == "." || name == ".." || name.find('/') != std::string::npos) return error_result(EXDEV);
  std::optional<ObjectEntry> entry;
  if (const int error = folder->entry_of(name, entry); error != 0) return error_result(error);
  if (!entry) return error_result(ENOENT);
  FileRef open;
  {
    const Lock lock{folder->mutex};
    if (const auto found = folder->files.find(entry->file); found != folder->files.end()) open = found->second.lock();
  }
  std::uint64_t size = open && open->is_ours() ? open->size() : entry->size_bytes;
  if (!(open && open->is_ours()) && entry->extent_bytes > entry->size_bytes) {
    const auto looked_at = std::make_shared<ObjectFile>(folder, name, *entry, false);
    if (const int error = looked_at->load(*entry); error != 0) return error_result(error);
    size = looked_at->size();
  }
  describe(*entry, size, status);
  return {};
}

IoResult ObjectFileSystem::status_of(const std::string& path, FileStatus& status) {
  return answered([&] {
    const auto parsed = parse_home_path(path);
    if (!parsed) return error_result(EINVAL);
    FolderRef folder;
    if (const IoResult found = folder_of(parsed->pool, folder); !found.ok()) return found;
    return status_in(folder, parsed->name, status);
  });
}

IoResult ObjectFileSystem::status_beneath(int directory, const std::string& name, FileStatus& status) {
  return answered([&] {
    FolderRef folder;
    if (const IoResult found = folder_at(directory, folder); !found.ok()) return found;
    return name.empty() ? error_result(ENOENT) : status_in(folder, name, status);
  });
}

IoResult ObjectFileSystem::real_path(const std::string& path, std::string& resolved) {
  FileStatus status;
  const IoResult found = status_of(path, status);
  return found.ok() ? answered([&]() -> IoResult {
    resolved = path;
    return {};
  })
                    : found;
}

IoResult ObjectFileSystem::file_system_type(int file) {
  return opened(file) ? IoResult{objects_magic, 0} : error_result(EBADF);
}

IoResult ObjectFileSystem::lock(int file, LockKind kind) {
  return answered([&]() -> IoResult {
    const auto one = opened(file);
    if (!one || !one->file) return error_result(EBADF);
    if (one->owner)
      return one->owner->exclusive == (kind == LockKind::exclusive) ? IoResult{} : error_result(EWOULDBLOCK);
    const FolderRef& folder = one->folder;
    const auto owner = std::make_shared<ObjectOwner>();
    owner->image = one->file->number();
    owner->image_name = image_of(one->file->name());
    owner->cookie = new_cookie();
    owner->exclusive = kind == LockKind::exclusive;
    owner->guards = times_.fence;
    const std::string object = lock_object(owner->image);
    const auto in_this_process = [&] {
      const Lock lock{folder->mutex};
      const auto found = folder->owners.find(owner->image_name);
      return found != folder->owners.end() && found->second->image == owner->image && !found->second->lease->lost();
    };
    folder->pool->health({});  // so that it is known once somebody asks
    // A holder who lives has renewed its lease when one has passed: so long this waits for one who may be dead.
    const std::int64_t until_ns = HomeLease::now_ns() + (times_.lease_ms + times_.renew_ms) * std::int64_t{1'000'000};
    std::int64_t asked_ns = 0;
    for (;;) {
      asked_ns = HomeLease::now_ns();
      const int error = waited([&](ObjectPool::Done done) {
        folder->pool->take_lock(object, owner->exclusive, owner->cookie, owner->cookie, times_.lease_ms,
                                std::move(done));
      });
      if (error == 0) break;
      if (error != EBUSY && error != EEXIST) return error_result(error);
      if (in_this_process() || HomeLease::now_ns() >= until_ns) return error_result(EWOULDBLOCK);
      std::this_thread::sleep_for(lock_poll);
    }
    keeper_->keep(folder, owner, asked_ns);
    // Whoever had it here before keeps what it has open, and with it that it is not its any more.
    if (one->file->owner()) {
      const auto anew = std::make_shared<ObjectFile>(folder, one->file->name(), one->file->entry(), false);
      const FileRef was = std::exchange(one->file, anew);
      ++anew->opens;
      --was->opens;
      const Lock lock{folder->mutex};
      folder->files[anew->number()] = anew;
    }
    IoResult taken;
    if (owner->exclusive) {
      taken = take_over(*folder, *one->file, owner);
      if (taken.ok()) {
        const Lock lock{folder->mutex};
        folder->owners[owner->image_name] = owner;
      }
    }
    if (taken.ok()) {
      one->file->set_owner(owner);
      const int error = one->file->look_again();
      if (error != 0 && error != ENOENT) taken = error_result(error);
    }
    one->owner = owner;
    if (taken.ok()) return taken;
    give_back(one);
    return taken.error == ECANCELED ? error_result(EWOULDBLOCK) : taken;
  });
}

std::vector<ObjectFileSystem::FileRef> ObjectFileSystem::files_of(const FolderRef& folder,
                                                                  const ObjectOwnerRef& owner) {
  std::vector<FileRef> files;
  {
    const Lock lock{folder->mutex};
    for (const auto& [number, file] : folder->files)
      if (FileRef open = file.lock()) files.push_back(std::move(open));
  }
  std::erase_if(files, [&](const FileRef& file) { return file->owner() != owner; });
  return files;
}

std::vector<ObjectFileSystem::FileRef> ObjectFileSystem::last_files_of(const FolderRef& folder,
                                                                       const ObjectOwnerRef& owner) {
  {
    const Lock lock{folder->mutex};
    const auto found = folder->owners.find(owner->image_name);
    if (found != folder->owners.end() && found->second == owner) folder->owners.erase(found);
  }
  return files_of(folder, owner);
}

// A lock that is given back in order takes its epoch along: so whoever comes next knows that nothing of this owner can
// still arrive.
void ObjectFileSystem::release(const FolderRef& folder, const ObjectOwnerRef& owner, bool quiet) {
  const auto waits = std::make_shared<ObjectWaits>();
  if (owner->guarded() && quiet && owner->epoch != 0) {
    ObjectChange change;
    change.compares.push_back(owner->names_guard());
    change.unset.push_back(epoch_key(owner->image));
    folder->pool->change(names_object, change, waits->one());
  }
  static_cast<void>(waits->wait());
  const std::string object = lock_object(owner->image);
  folder->pool->drop_lock(object, owner->cookie, waits->one());
  static_cast<void>(waits->wait());
  if (owner->exclusive) folder->pool->tell(object, std::string{lock_free});
}

int ObjectFileSystem::give_up(const FolderRef& folder, const ObjectOwnerRef& owner, const std::string& why) {
  if (owner->lease->lost()) return taken_over_error;
  for (const FileRef& file : files_of(folder, owner)) file->hand_over_all();
  owner->lease->lose(why);
  keeper_->forget(owner);
  for (const FileRef& file : last_files_of(folder, owner)) file->settle();
  release(folder, owner, true);
  return 0;
}

void ObjectFileSystem::give_back(const std::shared_ptr<Opened>& one) noexcept {
  static_cast<void>(answered([&]() -> IoResult {
    const ObjectOwnerRef owner = std::move(one->owner);
    one->owner = nullptr;
    if (!owner) return {};
    keeper_->forget(owner);
    const std::vector<FileRef> files = last_files_of(one->folder, owner);
    for (const FileRef& file : files) file->hand_over_all();
    const bool quiet = std::all_of(files.begin(), files.end(), [](const FileRef& file) { return file->is_quiet(); });
    if (owner->lease->lost()) return {};
    for (const FileRef& file : files) file->set_owner(nullptr);
    release(one->folder, owner, quiet);
    owner->lease->lose("the lock was given back");
    return {};
  }));
}

void ObjectFileSystem::unlock(int file) noexcept {
  if (const auto one = opened(file)) give_back(one);
}

IoResult ObjectFileSystem::map(int, std::uint64_t, const std::byte*&) { return error_result(ENOTSUP); }
void ObjectFileSystem::unmap(const std::byte*, std::uint64_t) noexcept {}

std::int64_t ObjectFileSystem::now_ns() noexcept { return time_of(CLOCK_REALTIME); }
std::int64_t ObjectFileSystem::file_clock_ns() noexcept { return time_of(CLOCK_REALTIME_COARSE); }
Boot ObjectFileSystem::boot() noexcept { return {}; }

IoResult ObjectFileSystem::rename(int directory, const std::string& from, const std::string& to, bool replaces) {
  return answered([&]() -> IoResult {
    FolderRef folder;
    if (const IoResult found = folder_at(directory, folder); !found.ok()) return found;
    for (const std::string* const name : {&from, &to})
      if (name->empty() || *name == "." || *name == ".." || name->find('/') != std::string::npos)
        return error_result(EXDEV);
    if (from == to) return replaces ? IoResult{} : error_result(EEXIST);
    for (int attempt = 0; attempt < tries_max; ++attempt) {
      std::optional<ObjectEntry> moved, replaced;
      std::string moved_value, replaced_value;
      if (const int error = folder->entry_of(from, moved, &moved_value); error != 0) return error_result(error);
      if (const int error = folder->entry_of(to, replaced, &replaced_value); error != 0) return error_result(error);
      if (!moved) return error_result(ENOENT);
      if (replaced && !replaces) return error_result(EEXIST);
      ObjectOwnerRef owner = folder->owner_of(to);
      if (!owner) owner = folder->owner_of(from);
      ObjectChange change;
      change.compares.push_back({name_key(from), ObjectCompare::Kind::equal, moved_value});
      change.compares.push_back({name_key(to), ObjectCompare::Kind::equal, replaced_value});
      change.unset.push_back(name_key(from));
      change.set.emplace_back(name_key(to), moved_value);
      const RemovedEntry gone{owner ? owner->image : 0, replaced ? replaced->extent_bytes : 0,
                              replaced ? replaced->run_bytes : image_run_bytes};
      if (replaced) change.set.emplace_back(removed_key(replaced->file), encode_removed(gone));
      const int error = folder->change_names(std::move(change), owner);
      if (error == ECANCELED) continue;
      if (error != 0) return error_result(error);
      note_change(*folder);
      FileRef moved_file, replaced_file;
      {
        const Lock lock{folder->mutex};
        if (const auto found = folder->files.find(moved->file); found != folder->files.end())
          moved_file = found->second.lock();
        if (const auto found = folder->files.find(replaced ? replaced->file : 0); found != folder->files.end())
          replaced_file = found->second.lock();
      }
      if (moved_file) moved_file->set_name(to);
      if (replaced_file && replaced_file->opens != 0)
        replaced_file->note_removed();
      else if (replaced)
        folder->remove_runs(replaced->file, gone);
      return {};
    }
    return error_result(EAGAIN);
  });
}

IoResult ObjectFileSystem::rename_beneath(int directory, const std::string& from, const std::string& to) {
  return rename(directory, from, to, true);
}

IoResult ObjectFileSystem::rename_new_beneath(int directory, const std::string& from, const std::string& to) {
  return rename(directory, from, to, false);
}

IoResult ObjectFileSystem::remove_beneath(int directory, const std::string& name) {
  return answered([&]() -> IoResult {
    FolderRef folder;
    if (const IoResult found = folder_at(directory, folder); !found.ok()) return found;
    for (int attempt = 0; attempt < tries_max; ++attempt) {
      std::optional<ObjectEntry> entry;
      std::string value;
      if (const int error = folder->entry_of(name, entry, &value); error != 0) return error_result(error);
      if (!entry) return error_result(ENOENT);
      const ObjectOwnerRef owner = folder->owner_of(name);
      const RemovedEntry gone{owner ? owner->image : entry->file, entry->extent_bytes, entry->run_bytes};
      ObjectChange change;
      change.compares.push_back({name_key(name), ObjectCompare::Kind::equal, value});
      change.unset.push_back(name_key(name));
      change.set.emplace_back(removed_key(entry->file), encode_removed(gone));
      const int error = folder->change_names(std::move(change), owner);
      if (error == ECANCELED) continue;
      if (error != 0) return error_result(error);
      note_change(*folder);
      FileRef open;
      {
        const Lock lock{folder->mutex};
        if (const auto known = folder->files.find(entry->file); known != folder->files.end())
          open = known->second.lock();
      }
      if (open && open->opens != 0)
        open->note_removed();
      else
        folder->remove_runs(entry->file, gone);
      return {};
    }
    return error_result(EAGAIN);
  });
}

IoResult ObjectFileSystem::list(int directory, const std::string& prefix, std::vector<std::string>& names) {
  return answered([&]() -> IoResult {
    FolderRef folder;
    if (const IoResult found = folder_at(directory, folder); !found.ok()) return found;
    std::map<std::string, std::string> keys;
    if (const int error = folder->pool->list(names_object, name_key(prefix), keys); error != 0)
      return error_result(error);
    names.clear();
    for (const auto& [key, value] : keys) names.push_back(key.substr(2));
    return {};
  });
}

}  // namespace pageserver::storage
