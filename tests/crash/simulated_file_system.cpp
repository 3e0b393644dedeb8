#include "tests/crash/simulated_file_system.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <set>

namespace pageserver::test {

using storage::FileStatus;
using storage::IoResult;
using storage::LockKind;

namespace {

IoResult failed(int error) { return {-1, error}; }
IoResult done(std::uint64_t value = 0) { return {static_cast<std::int64_t>(value), 0}; }

std::pair<std::string, std::string> split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

std::string joined(const std::string& directory, const std::string& name) {
  return directory == "." ? name : directory + "/" + name;
}

std::string without_trailing_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

const char* to_string(Call call) {
  static constexpr std::array<const char*, call_kinds> names{
      "open",           "read",   "write", "truncate", "reserve", "punch_hole", "seek", "sync_data", "sync_file",
      "sync_directory", "status", "type",  "lock",     "rename",  "remove",     "list", "map"};
  return names[static_cast<std::size_t>(call)];
}

SimulatedFileSystem::SimulatedFileSystem(std::uint64_t seed) : random_(seed) {}

SimulatedFileSystem::~SimulatedFileSystem() {
  for (const auto& [address, mapping] : mappings_) SimulatedMapping::unmap(address, mapping.length);
}

void SimulatedFileSystem::make_directory(const std::string& path) { directories_[path].number = next_inode_++; }

void SimulatedFileSystem::set_clock(std::int64_t by_ns) {
  clock_ns_ += by_ns;
  boot_started_ns_ += by_ns;
}

void SimulatedFileSystem::move_directory(const std::string& from, const std::string& to) {
  auto moved = directories_.extract(from);
  moved.key() = to;
  directories_.insert(std::move(moved));
  for (auto& [number, file] : files_) {
    if (file.path == from) file.path = to;
    if (file.path.starts_with(from + "/")) file.path.replace(0, from.size(), to);
  }
}

std::uint64_t SimulatedFileSystem::blocks() const {
  std::uint64_t sum = 0;
  for (const auto& [number, inode] : inodes_) sum += inode.blocks();
  return sum;
}

std::unique_ptr<SimulatedFileSystem> SimulatedFileSystem::after(Crash crash, std::uint64_t seed) const {
  auto copy = std::make_unique<SimulatedFileSystem>(seed);
  copy->short_transfer_one_in = short_transfer_one_in;
  copy->direct_reads = direct_reads;
  copy->repeated_from = repeated_from;
  copy->repeated_until = repeated_until;
  copy->torn_sector_bytes = torn_sector_bytes;
  copy->torn_in_changes_only = torn_in_changes_only;
  copy->directories_ = directories_;
  copy->inodes_ = inodes_;
  copy->next_inode_ = next_inode_;
  copy->clock_ns_ = clock_ns_ + 1'000'000;
  // Who is killed before it wrote once more what a failed sync took from memory leaves what a loss of power leaves:
  // LOG_FORMAT.md says so.
  copy->boot_ = crash == Crash::kill && forgot_in_.empty() ? boot_ : boot_ + 1;
  copy->boot_started_ns_ = crash == Crash::kill ? boot_started_ns_ : copy->clock_ns_;
  Random chance(seed);
  std::set<std::uint64_t> torn_in_changes;
  for (const auto& [path, directory] : directories_) {
    for (const auto* names : {&directory.now, &directory.durable}) {
      const auto entry = names->find(torn_in_changes_only);
      if (entry != names->end()) torn_in_changes.insert(entry->second);
    }
  }
  for (auto& [path, directory] : copy->directories_) {
    if (crash == Crash::kill) continue;
    for (const EntryChange& change : directory.unsynced) {
      if (crash == Crash::power_lost || (crash == Crash::power && chance.one_in(2))) continue;
      for (const auto& [name, inode] : change.entries) {
        if (inode == 0) {
          directory.durable.erase(name);
        } else {
          directory.durable[name] = inode;
        }
      }
    }
    directory.unsynced.clear();
    directory.now = directory.durable;
  }
  for (auto& [number, inode] : copy->inodes_) {
    inode.crash(crash, chance, {torn_sector_bytes, torn_in_changes.contains(number)});
  }
  copy->drop_unused_inodes();
  return copy;
}

const SimulatedInode* SimulatedFileSystem::find(const std::string& path) const {
  return const_cast<SimulatedFileSystem*>(this)->find(path);
}

SimulatedInode* SimulatedFileSystem::find(const std::string& path) {
  const auto [folder, name] = split(path);
  Directory* directory = directory_of(folder);
  if (directory == nullptr) return nullptr;
  const auto entry = directory->now.find(name);
  return entry == directory->now.end() ? nullptr : &inodes_.at(entry->second);
}

bool SimulatedFileSystem::locked(const std::string& path) const {
  const SimulatedInode* inode = find(path);
  return inode != nullptr && std::any_of(files_.begin(), files_.end(), [&](const auto& one) {
           return one.second.inode == inode->number() && one.second.lock == LockKind::exclusive;
         });
}

std::vector<std::string> SimulatedFileSystem::names(const std::string& path) const {
  std::vector<std::string> names;
  const auto directory = directories_.find(path);
  if (directory == directories_.end()) return names;
  for (const auto& [name, inode] : directory->second.now) names.push_back(name);
  return names;
}

int SimulatedFileSystem::begin(Call call, const std::string& path, std::uint64_t offset, std::uint64_t length) {
  const CallInfo info{calls_, call, path, offset, length, false};
  ++calls_;
  ++calls_by_kind_[static_cast<std::size_t>(call)];
  tick();
  if (observe) observe(info);
  return fault ? fault(info) : 0;
}

SimulatedFileSystem::OpenFile* SimulatedFileSystem::file_of(int file) {
  const auto at = files_.find(file);
  return at == files_.end() ? nullptr : &at->second;
}

SimulatedInode* SimulatedFileSystem::inode_of(int file) {
  const OpenFile* opened = file_of(file);
  return opened == nullptr || opened->inode == 0 ? nullptr : &inodes_.at(opened->inode);
}

SimulatedFileSystem::Directory* SimulatedFileSystem::directory_of(const std::string& path) {
  const auto at = directories_.find(without_trailing_slash(path));
  return at == directories_.end() ? nullptr : &at->second;
}

std::uint64_t SimulatedFileSystem::make_inode(std::uint32_t mode) {
  const std::uint64_t number = next_inode_++;
  inodes_.emplace(number, SimulatedInode(number, tick(), S_IFREG | (mode & 07777)));
  return number;
}

void SimulatedFileSystem::drop_unused_inodes() {
  std::set<std::uint64_t> used;
  for (const auto& [path, directory] : directories_) {
    for (const auto& [name, inode] : directory.now) used.insert(inode);
    for (const auto& [name, inode] : directory.durable) used.insert(inode);
    for (const EntryChange& change : directory.unsynced) {
      for (const auto& [name, inode] : change.entries) used.insert(inode);
    }
  }
  for (const auto& [number, file] : files_) used.insert(file.inode);
  for (const auto& [address, mapping] : mappings_) used.insert(mapping.inode);
  std::erase_if(inodes_, [&](const auto& one) { return !used.contains(one.first); });
}

IoResult SimulatedFileSystem::add_file(OpenFile file) {
  const int number = next_file_++;
  files_.emplace(number, std::move(file));
  return done(static_cast<std::uint64_t>(number));
}

IoResult SimulatedFileSystem::open(const std::string& path, int flags, std::uint32_t mode) {
  if (const int error = begin(Call::open, path)) return failed(error);
  return open_path(path, flags, mode);
}

IoResult SimulatedFileSystem::open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) {
  if (const int error = begin(Call::open, path_beneath(directory, name))) return failed(error);
  if (file_of(directory) == nullptr) return failed(EBADF);
  if (file_of(directory)->inode != 0) return failed(ENOTDIR);
  if (name.starts_with('/') || name == ".." || name.starts_with("../")) return failed(EXDEV);
  return open_path(path_beneath(directory, name), flags, mode);
}

IoResult SimulatedFileSystem::open_path(const std::string& path, int flags, std::uint32_t mode) {
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  if (directory_of(path) != nullptr) {
    if ((flags & O_TMPFILE) == O_TMPFILE) return add_file({make_inode(mode), path, writable, false, {}});
    if (writable || (flags & O_CREAT) != 0) return failed(EISDIR);
    return add_file({0, without_trailing_slash(path), false, false, {}});
  }
  const auto [folder, name] = split(path);
  Directory* directory = directory_of(folder);
  if (directory == nullptr) return failed(ENOENT);
  const auto entry = directory->now.find(name);
  if (entry == directory->now.end()) {
    if ((flags & O_DIRECTORY) != 0 || (flags & O_CREAT) == 0) return failed(ENOENT);
    const std::uint64_t inode = make_inode(mode);
    directory->now[name] = inode;
    directory->unsynced.push_back({{{name, inode}}});
    return add_file({inode, path, writable, false, {}});
  }
  if ((flags & O_DIRECTORY) != 0) return failed(ENOTDIR);
  if ((flags & O_DIRECT) != 0 && !direct_reads) return failed(EINVAL);
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return failed(EEXIST);
  if ((flags & O_TRUNC) != 0) inodes_.at(entry->second).resize(0, tick());
  return add_file({entry->second, path, writable, (flags & O_DIRECT) != 0, {}});
}

int SimulatedFileSystem::close(int file) noexcept {
  files_.erase(file);
  drop_unused_inodes();
  return 0;
}

IoResult SimulatedFileSystem::read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::read, opened ? opened->path : "", offset, buffer.size())) return failed(error);
  const SimulatedInode* inode = inode_of(file);
  if (inode == nullptr) return failed(EBADF);
  if (short_transfer_one_in != 0 && random_.one_in(short_transfer_one_in)) {
    if (random_.one_in(2)) return failed(EINTR);
    buffer = buffer.first(buffer.empty() ? 0 : 1 + static_cast<std::size_t>(random_.below(buffer.size())));
    // Only at the end of the file such a read ends inside a block.
    if (opened->direct) buffer = buffer.first(buffer.size() / BlockBytes::block_size * BlockBytes::block_size);
  }
  if (offset >= inode->size()) return done(0);
  const std::uint64_t length = std::min<std::uint64_t>(buffer.size(), inode->size() - offset);
  buffer = buffer.first(static_cast<std::size_t>(length));
  inode->content().read(offset, buffer);
  if (opened->direct) inode->read_disk(offset, buffer);
  return done(length);
}

std::uint64_t SimulatedFileSystem::bytes_with_room(const SimulatedInode& inode, std::uint64_t offset,
                                                   std::uint64_t length) const {
  if (!capacity_blocks) return length;
  const std::uint64_t used = blocks();
  const std::uint64_t room = used < *capacity_blocks ? *capacity_blocks - used : 0;
  while (length > 0 && inode.blocks_missing(offset, length) > room) {
    const std::uint64_t end = offset + length - 1;
    length = end - std::min(end - offset, end % BlockBytes::block_size) - offset;
  }
  return length;
}

IoResult SimulatedFileSystem::write_at(int file, std::uint64_t offset, std::span<const std::byte> data) {
  const OpenFile* opened = file_of(file);
  const std::string path = opened ? opened->path : "";
  if (const int error = begin(Call::write, path, offset, data.size())) return failed(error);
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr || !file_of(file)->writable) return failed(EBADF);
  if (data.empty()) return done(0);
  if (short_transfer_one_in != 0 && random_.one_in(short_transfer_one_in)) {
    if (random_.one_in(2)) return failed(EINTR);
    data = data.first(1 + static_cast<std::size_t>(random_.below(data.size())));
  }
  data = data.first(static_cast<std::size_t>(bytes_with_room(*inode, offset, data.size())));
  if (data.empty()) return failed(ENOSPC);
  if (observe && data.size() > 1) {
    // A process killed inside write(2) leaves a part, which can end anywhere: prefer block borders, but not always.
    std::size_t first = 1 + static_cast<std::size_t>(random_.below(data.size() - 1));
    if (first > BlockBytes::block_size && random_.one_in(2)) first -= first % BlockBytes::block_size;
    inode->write(offset, data.first(first), tick());
    observe({calls_ - 1, Call::write, path, offset, data.size(), true});
    inode = inode_of(file);
    if (inode == nullptr) return failed(EBADF);
    inode->write(offset + first, data.subspan(first), tick());
    note_repeated(path, offset);
    return done(data.size());
  }
  inode->write(offset, data, tick());
  note_repeated(path, offset);
  return done(data.size());
}

void SimulatedFileSystem::note_repeated(const std::string& path, std::uint64_t offset) {
  if (path == forgot_in_ && offset >= repeated_from && offset < repeated_until) forgot_in_.clear();
}

IoResult SimulatedFileSystem::write_parts_at(int file, std::uint64_t offset,
                                             std::span<const std::span<const std::byte>> parts) {
  std::vector<std::byte> whole;
  for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return write_at(file, offset, whole);
}

IoResult SimulatedFileSystem::truncate(int file, std::uint64_t size_bytes) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::truncate, opened ? opened->path : "", size_bytes)) return failed(error);
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr || !file_of(file)->writable) return failed(EINVAL);
  inode->resize(size_bytes, tick());
  inode->release_past_end();
  return done();
}

IoResult SimulatedFileSystem::reserve(int file, std::uint64_t offset, std::uint64_t length) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::reserve, opened ? opened->path : "", offset, length)) return failed(error);
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr || !file_of(file)->writable) return failed(EBADF);
  if (length == 0) return failed(EINVAL);
  if (bytes_with_room(*inode, offset, length) < length) return failed(ENOSPC);
  inode->allocate(offset, length);
  inode->touch(tick());
  return done();
}

IoResult SimulatedFileSystem::punch_hole(int file, std::uint64_t offset, std::uint64_t length) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::punch_hole, opened ? opened->path : "", offset, length)) return failed(error);
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr || !file_of(file)->writable) return failed(EBADF);
  if (length == 0) return failed(EINVAL);
  inode->zero(offset, length, tick());
  inode->release(offset, length);
  return done();
}

IoResult SimulatedFileSystem::seek(int file, std::uint64_t offset, bool data) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::seek, opened ? opened->path : "", offset)) return failed(error);
  const SimulatedInode* inode = inode_of(file);
  if (inode == nullptr) return failed(EBADF);
  if (offset >= inode->size()) return failed(ENXIO);
  while (offset < inode->size()) {
    if (inode->content().has_block(offset) == data) return done(offset);
    offset = (offset / BlockBytes::block_size + 1) * BlockBytes::block_size;
  }
  return data ? failed(ENXIO) : done(inode->size());
}

IoResult SimulatedFileSystem::seek_data(int file, std::uint64_t offset) { return seek(file, offset, true); }
IoResult SimulatedFileSystem::seek_hole(int file, std::uint64_t offset) { return seek(file, offset, false); }

IoResult SimulatedFileSystem::sync_file(int file, Call call) {
  const OpenFile* opened = file_of(file);
  const std::string path = opened ? opened->path : "";
  if (const int error = begin(call, path)) {
    if (SimulatedInode* inode = inode_of(file)) {
      inode->fail_sync(random_, drops_pages);
      dropped_pages_ = dropped_pages_ || drops_pages;
      if (drops_pages) forgot_in_ = path;
    }
    return failed(error);
  }
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr) return failed(EBADF);
  const SimulatedInode::Sync sync = inode->start_sync();
  if (observe) observe({calls_ - 1, call, path, 0, 0, true});
  if ((inode = inode_of(file)) == nullptr) return failed(EBADF);
  inode->finish_sync(sync, call == Call::sync_file);
  return done();
}

IoResult SimulatedFileSystem::sync_data(int file) { return sync_file(file, Call::sync_data); }

IoResult SimulatedFileSystem::sync(int file) {
  const OpenFile* opened = file_of(file);
  if (opened == nullptr || opened->inode != 0) return sync_file(file, Call::sync_file);
  const std::string path = opened->path;
  if (const int error = begin(Call::sync_directory, path)) return failed(error);
  Directory& directory = directories_.at(path);
  directory.durable = directory.now;
  directory.unsynced.clear();
  drop_unused_inodes();
  return done();
}

void SimulatedFileSystem::describe(const SimulatedInode& inode, FileStatus& status) const {
  status = {};
  status.size_bytes = inode.size();
  status.allocated_bytes = inode.blocks() * BlockBytes::block_size;
  status.device = 1;
  status.inode = inode.number();
  status.birth_ns = inode.birth_ns();
  status.modified_ns = inode.modified_ns();
  status.mode = inode.mode();
  status.direct_reads = says_direct_reads;
  for (const auto& [path, directory] : directories_) {
    for (const auto& [name, number] : directory.now) status.links += number == inode.number() ? 1u : 0u;
  }
}

IoResult SimulatedFileSystem::size(int file) {
  FileStatus found;
  const IoResult known = status(file, found);
  return known.ok() ? done(found.size_bytes) : known;
}

IoResult SimulatedFileSystem::status(int file, FileStatus& status) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::status, opened ? opened->path : "")) return failed(error);
  if ((opened = file_of(file)) == nullptr) return failed(EBADF);
  if (opened->inode != 0) {
    describe(inodes_.at(opened->inode), status);
  } else {
    status = {};
    status.device = 1;
    status.inode = directories_.at(opened->path).number;
    status.links = 2;
    status.mode = S_IFDIR | 0755;
  }
  return done();
}

std::string SimulatedFileSystem::path_beneath(int directory, const std::string& name) {
  const OpenFile* folder = file_of(directory);
  if (folder == nullptr) return name;
  return name == "." ? folder->path : joined(folder->path, name);
}

IoResult SimulatedFileSystem::status_of(const std::string& path, FileStatus& status) {
  if (const int error = begin(Call::status, path)) return failed(error);
  return status_path(path, status);
}

IoResult SimulatedFileSystem::status_beneath(int directory, const std::string& name, FileStatus& status) {
  if (const int error = begin(Call::status, path_beneath(directory, name))) return failed(error);
  if (file_of(directory) == nullptr) return failed(EBADF);
  return status_path(path_beneath(directory, name), status);
}

IoResult SimulatedFileSystem::status_path(const std::string& path, FileStatus& status) {
  if (const Directory* directory = directory_of(path)) {
    status = {};
    status.device = 1;
    status.inode = directory->number;
    status.links = 2;
    status.mode = S_IFDIR | 0755;
    return done();
  }
  const SimulatedInode* inode = find(path);
  if (inode == nullptr) return failed(ENOENT);
  describe(*inode, status);
  return done();
}

IoResult SimulatedFileSystem::real_path(const std::string& path, std::string& resolved) {
  resolved = path;  // there are no links
  return done();
}

IoResult SimulatedFileSystem::file_system_type(int file) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::type, opened ? opened->path : "")) return failed(error);
  return file_of(file) == nullptr ? failed(EBADF) : done(type);
}

IoResult SimulatedFileSystem::lock(int file, LockKind lock) {
  OpenFile* opened = file_of(file);
  if (const int error = begin(Call::lock, opened ? opened->path : "")) return failed(error);
  if ((opened = file_of(file)) == nullptr) return failed(EBADF);
  for (const auto& [number, other] : files_) {
    if (number == file || other.inode != opened->inode || !other.lock) continue;
    if (lock == LockKind::exclusive || *other.lock == LockKind::exclusive) return failed(EWOULDBLOCK);
  }
  opened->lock = lock;
  return done();
}

IoResult SimulatedFileSystem::home_of(int, storage::FileHome&) { return {-1, ENOTSUP}; }

void SimulatedFileSystem::unlock(int file) noexcept {
  if (OpenFile* const opened = file_of(file)) opened->lock.reset();
}

IoResult SimulatedFileSystem::map(int file, std::uint64_t length, const std::byte*& address) {
  const OpenFile* opened = file_of(file);
  if (const int error = begin(Call::map, opened ? opened->path : "", 0, length)) return failed(error);
  SimulatedInode* inode = inode_of(file);
  if (inode == nullptr) return failed(EBADF);
  if (length == 0) return failed(EINVAL);
  address = inode->map(length);
  if (address == nullptr) return failed(ENOMEM);
  mappings_[address] = {inode->number(), length};
  return done();
}

void SimulatedFileSystem::unmap(const std::byte* address, std::uint64_t length) noexcept {
  const auto mapping = mappings_.find(address);
  if (mapping == mappings_.end() || mapping->second.length != length) return;
  SimulatedMapping::unmap(address, length);
  const std::uint64_t number = mapping->second.inode;
  mappings_.erase(mapping);
  const auto others = [&](const auto& one) { return one.second.inode == number; };
  if (std::none_of(mappings_.begin(), mappings_.end(), others)) inodes_.at(number).end_mapping();
  drop_unused_inodes();
}

IoResult SimulatedFileSystem::rename_beneath(int folder, const std::string& from, const std::string& to) {
  if (const int error = begin(Call::rename, path_beneath(folder, from))) return failed(error);
  if (file_of(folder) == nullptr) return failed(EBADF);
  Directory* directory = directory_of(file_of(folder)->path);
  if (directory == nullptr || !directory->now.contains(from)) return failed(ENOENT);
  const std::uint64_t inode = directory->now.at(from);
  directory->now.erase(from);
  directory->now[to] = inode;
  directory->unsynced.push_back({{{from, 0}, {to, inode}}});
  drop_unused_inodes();
  return done();
}

IoResult SimulatedFileSystem::rename_new_beneath(int folder, const std::string& from, const std::string& to) {
  const OpenFile* opened = file_of(folder);
  const Directory* directory = opened == nullptr ? nullptr : directory_of(opened->path);
  if (directory != nullptr && directory->now.contains(to)) {
    const int error = begin(Call::rename, path_beneath(folder, from));
    return failed(error != 0 ? error : EEXIST);
  }
  return rename_beneath(folder, from, to);
}

IoResult SimulatedFileSystem::remove_path(const std::string& path) {
  const auto [folder, name] = split(path);
  Directory* directory = directory_of(folder);
  if (directory == nullptr || !directory->now.contains(name)) return failed(ENOENT);
  directory->now.erase(name);
  directory->unsynced.push_back({{{name, 0}}});
  drop_unused_inodes();
  return done();
}

IoResult SimulatedFileSystem::remove_beneath(int directory, const std::string& name) {
  if (const int error = begin(Call::remove, path_beneath(directory, name))) return failed(error);
  return file_of(directory) == nullptr ? failed(EBADF) : remove_path(path_beneath(directory, name));
}

IoResult SimulatedFileSystem::list(int directory, const std::string& prefix, std::vector<std::string>& names) {
  if (const int error = begin(Call::list, path_beneath(directory, "."))) return failed(error);
  const OpenFile* opened = file_of(directory);
  if (opened == nullptr) return failed(EBADF);
  if (directory_of(opened->path) == nullptr) return failed(ENOENT);
  names = this->names(opened->path);
  std::erase_if(names, [&](const std::string& name) { return !name.starts_with(prefix); });
  return done();
}

}  // namespace pageserver::test
