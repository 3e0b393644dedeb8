// A disk in memory behind the seam to the file system: seeded, deterministic, and as unkind as a real one may be.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/file/file_system.hpp"
#include "tests/crash/simulated_inode.hpp"

namespace pageserver::test {

enum class Call : std::uint8_t {
  open,
  read,
  write,
  truncate,
  reserve,
  punch_hole,
  seek,
  sync_data,
  sync_file,
  sync_directory,
  status,
  type,
  lock,
  rename,
  remove,
  list,
  map,
  count_,
};
inline constexpr std::size_t call_kinds = static_cast<std::size_t>(Call::count_);
const char* to_string(Call call);

/// One call at the seam. `path` is the name under which the file was opened.
struct CallInfo {
  std::uint64_t index = 0;  ///< from 0, in the order of the calls; close() is not counted since it can't fail
  Call call = Call::open;
  std::string path;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  /// False: nothing happened yet. True: the call is half done: a write wrote its first part, a sync took what it will
  /// make durable and made nothing durable yet.
  bool middle = false;
};

/// What is durable and what is not:
///   - the content and the size of a file: once sync() or sync_data() of it succeeded;
///   - a directory's entries (create, rename, remove): once sync() of the directory succeeded. A sync of the file alone
///     does not do it.
/// A failed sync makes pages clean without writing all of them: the next one succeeds and changes nothing.
///
/// Not thread-safe, but its calls may be made from within `observe`. There are no symbolic links, no owners and no
/// permissions but O_RDONLY's; renames stay within one directory.
class SimulatedFileSystem final : public storage::FileSystem {
public:
  explicit SimulatedFileSystem(std::uint64_t seed);
  ~SimulatedFileSystem() override;

  /// Called before each call and in the middle of writes and syncs. May make other calls and may copy the disk.
  std::function<void(const CallInfo&)> observe;
  /// Asked after `observe` and before the call: an errno makes the call fail. See also `capacity_blocks`.
  std::function<int(const CallInfo&)> fault;
  /// When set, a write of one_in(n) is short, and so are reads; as many meet EINTR.
  std::uint64_t short_transfer_one_in = 0;
  /// When set, blocks of 4,096 bytes that all files may take together; past it writes are short, then ENOSPC.
  std::optional<std::uint64_t> capacity_blocks;

  /// When set, a loss of power tears one sector of so many bytes in each file that has unsynced ones. Of files with the
  /// name `torn_in_changes_only` it tears what was changed in that sector, and nothing beside that.
  std::uint64_t torn_sector_bytes = 0;
  std::string torn_in_changes_only;

  /// After a failed sync the page cache forgets some of what that did not bring to the disk: what is read there then is
  /// older.
  bool drops_pages = false;
  /// Whoever writes there, into the file whose sync failed, has written once more what has to be in memory.
  std::uint64_t repeated_from = 0, repeated_until = ~0ull;
  /// Files can be read past the page cache, with O_DIRECT; else that is EINVAL.
  bool direct_reads = true;
  /// What the kernel says of that, and which file system it is.
  std::optional<bool> says_direct_reads;
  std::uint64_t type = 0xEF53;  // ext4
  bool dropped_pages() const { return dropped_pages_; }

  void make_directory(const std::string& path);
  /// Somebody sets the clock, by so much.
  void set_clock(std::int64_t by_ns);
  void pass_time(std::int64_t ns) { clock_ns_ += ns; }
  /// As someone with a shell does it, durable at once: not counted. Who has the directory open follows it.
  void move_directory(const std::string& from, const std::string& to);
  std::uint64_t calls() const { return calls_; }
  std::uint64_t calls(Call call) const { return calls_by_kind_[static_cast<std::size_t>(call)]; }
  std::uint64_t blocks() const;

  /// The disk after a crash at this moment, as a machine that just started sees it. Nothing here changes.
  std::unique_ptr<SimulatedFileSystem> after(Crash crash, std::uint64_t seed) const;

  /// For checks, not counted: a file's content as processes see it, or nothing; the names in a directory.
  const SimulatedInode* find(const std::string& path) const;
  SimulatedInode* find(const std::string& path);
  std::vector<std::string> names(const std::string& directory) const;
  /// Some process has it locked, for itself alone.
  bool locked(const std::string& path) const;
  std::size_t open_files() const { return files_.size(); }
  std::size_t mappings() const { return mappings_.size(); }

  storage::IoResult open(const std::string& path, int flags, std::uint32_t mode) override;
  storage::IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override;
  int close(int file) noexcept override;
  storage::IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override;
  storage::IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override;
  storage::IoResult write_parts_at(int file, std::uint64_t offset,
                                   std::span<const std::span<const std::byte>> parts) override;
  storage::IoResult truncate(int file, std::uint64_t size_bytes) override;
  storage::IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override;
  storage::IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override;
  storage::IoResult seek_data(int file, std::uint64_t offset) override;
  storage::IoResult seek_hole(int file, std::uint64_t offset) override;
  void start_writeback(int, std::uint64_t, std::uint64_t) noexcept override {}
  void drop_from_memory(int, std::uint64_t, std::uint64_t) noexcept override {}
  storage::IoResult sync_data(int file) override;
  storage::IoResult sync(int file) override;
  storage::IoResult size(int file) override;
  storage::IoResult status(int file, storage::FileStatus& status) override;
  storage::IoResult status_of(const std::string& path, storage::FileStatus& status) override;
  storage::IoResult real_path(const std::string& path, std::string& resolved) override;
  storage::IoResult file_system_type(int file) override;
  storage::IoResult lock(int file, storage::LockKind lock) override;
  void unlock(int file) noexcept override;
  storage::IoResult home_of(int file, storage::FileHome& home) override;
  storage::IoResult map(int file, std::uint64_t length, const std::byte*& address) override;
  void unmap(const std::byte* address, std::uint64_t length) noexcept override;
  storage::IoResult status_beneath(int directory, const std::string& name, storage::FileStatus& status) override;
  std::int64_t now_ns() noexcept override { return clock_ns_; }
  std::int64_t file_clock_ns() noexcept override { return clock_ns_; }
  storage::Boot boot() noexcept override { return {boot_, boot_started_ns_}; }
  storage::IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override;
  storage::IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override;
  storage::IoResult remove_beneath(int directory, const std::string& name) override;
  storage::IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override;

private:
  struct EntryChange {  // what happened to entries and is not durable yet; a rename changes two at once
    std::vector<std::pair<std::string, std::uint64_t>> entries;  // inode 0: removed
  };
  struct Directory {
    std::uint64_t number = 0;
    std::map<std::string, std::uint64_t> now;
    std::map<std::string, std::uint64_t> durable;
    std::vector<EntryChange> unsynced;
  };
  struct OpenFile {
    std::uint64_t inode = 0;  // 0: a directory
    std::string path;
    bool writable = false;
    bool direct = false;  // reads the disk, not the page cache
    std::optional<storage::LockKind> lock;
  };

  struct Mapping {
    std::uint64_t inode = 0;
    std::uint64_t length = 0;
  };

  /// Counts, observes, and answers the errno that the call must fail with, or 0.
  int begin(Call call, const std::string& path, std::uint64_t offset = 0, std::uint64_t length = 0);
  OpenFile* file_of(int file);
  SimulatedInode* inode_of(int file);
  Directory* directory_of(const std::string& path);
  /// Some minutes in a run, so that what lasts for seconds ends in it.
  std::int64_t tick() { return clock_ns_ += 3'000'001; }
  std::uint64_t make_inode(std::uint32_t mode);
  void drop_unused_inodes();
  void note_repeated(const std::string& path, std::uint64_t offset);
  storage::IoResult open_path(const std::string& path, int flags, std::uint32_t mode);
  storage::IoResult add_file(OpenFile file);
  storage::IoResult seek(int file, std::uint64_t offset, bool data);
  storage::IoResult sync_file(int file, Call call);
  storage::IoResult status_path(const std::string& path, storage::FileStatus& status);
  storage::IoResult remove_path(const std::string& path);
  std::string path_beneath(int directory, const std::string& name);
  std::uint64_t bytes_with_room(const SimulatedInode& inode, std::uint64_t offset, std::uint64_t length) const;
  void describe(const SimulatedInode& inode, storage::FileStatus& status) const;

  Random random_;
  std::map<std::string, Directory> directories_;
  std::map<std::uint64_t, SimulatedInode> inodes_;
  std::map<int, OpenFile> files_;
  std::map<const std::byte*, Mapping> mappings_;
  std::uint64_t next_inode_ = 100;
  int next_file_ = 3;
  std::int64_t clock_ns_ = 1'700'000'000'000'000'000;
  std::uint64_t boot_ = 1;
  std::int64_t boot_started_ns_ = clock_ns_ - 1'000'000'000;
  std::uint64_t calls_ = 0;
  bool dropped_pages_ = false;
  std::string forgot_in_;  ///< a file that a failed sync took pages of, until the next write to it
  std::array<std::uint64_t, call_kinds> calls_by_kind_{};
};

}  // namespace pageserver::test
