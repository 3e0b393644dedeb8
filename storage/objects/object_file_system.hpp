// Files whose home is a pool of objects, which several machines reach: the file system of a store that can be taken
// over. docs/homes.md says how, and why nothing of an earlier owner can follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.hpp"
#include "storage/file/file_system.hpp"
#include "storage/objects/home_path.hpp"
#include "storage/objects/object_file.hpp"
#include "storage/objects/object_pool.hpp"

namespace pageserver::storage {

class LeaseKeeper;

/// Descriptors are numbers from home_descriptors_begin on. A path leads to a pool's folder or to a file in it; there
/// are neither further folders nor links. What a call waits for is the pool's to answer, however long that takes.
///
/// What differs from an operating system's files:
/// - A kill of the process is what a loss of power is to a disk: what was not synced may be gone.
/// - A lock is a lease: another takes it over once its holder has not renewed it for lease_ms. From then on every call
///   on the locked file and on those beside it answers taken_over_error, and none changes a byte.
/// - Files have no modification time: nobody but who has the lock can change one.
class ObjectFileSystem final : public FileSystem {
public:
  struct Times {
    std::uint32_t lease_ms = 3000;
    std::uint32_t renew_ms = 500;
    bool fence = true;  ///< false: epochs are neither set nor compared, for the tests' control alone
  };

  /// `pools` outlives this.
  explicit ObjectFileSystem(ObjectPools& pools);
  ObjectFileSystem(ObjectPools& pools, const Times& times);
  ~ObjectFileSystem() override;

  IoResult open(const std::string& path, int flags, std::uint32_t mode) override;
  IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) override;
  int close(int file) noexcept override;
  IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) override;
  IoResult read_until(int file, std::uint64_t offset, std::span<std::byte> buffer, Moment deadline) override;
  IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) override;
  IoResult write_parts_at(int file, std::uint64_t offset, std::span<const std::span<const std::byte>> parts) override;
  IoResult truncate(int file, std::uint64_t size_bytes) override;
  IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) override;
  IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) override;
  IoResult seek_data(int file, std::uint64_t offset) override;
  IoResult seek_hole(int file, std::uint64_t offset) override;
  void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept override;
  void drop_from_memory(int file, std::uint64_t offset, std::uint64_t length) noexcept override;
  IoResult sync_data(int file) override;
  IoResult sync(int file) override;
  IoResult size(int file) override;
  IoResult status(int file, FileStatus& status) override;
  IoResult status_of(const std::string& path, FileStatus& status) override;
  IoResult status_beneath(int directory, const std::string& name, FileStatus& status) override;
  IoResult real_path(const std::string& path, std::string& resolved) override;
  IoResult file_system_type(int file) override;
  IoResult lock(int file, LockKind lock) override;
  void unlock(int file) noexcept override;
  IoResult home_of(int file, FileHome& home) override;
  IoResult map(int file, std::uint64_t length, const std::byte*& address) override;
  void unmap(const std::byte* address, std::uint64_t length) noexcept override;
  std::int64_t now_ns() noexcept override;
  std::int64_t file_clock_ns() noexcept override;
  Boot boot() noexcept override;
  IoResult rename_beneath(int directory, const std::string& from, const std::string& to) override;
  IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) override;
  IoResult remove_beneath(int directory, const std::string& name) override;
  IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) override;

private:
  using FolderRef = std::shared_ptr<ObjectFolder>;
  /// False in a child after fork(2): the pool's threads, and who holds a mutex, are the parent's. All calls fail there,
  /// and a close leaves everything to the parent.
  bool in_our_process() const noexcept;
  using FileRef = std::shared_ptr<ObjectFile>;
  struct Opened {
    FolderRef folder;
    FileRef file;  ///< null: the folder itself
    bool writes = false;
    ObjectOwnerRef owner;  ///< it has the lock
  };

  IoResult folder_of(const PoolName& pool, FolderRef& folder);
  IoResult give_number(Opened opened);
  std::shared_ptr<Opened> opened(int file);
  IoResult file_at(int file, FileRef& found, bool to_write);
  template <class Call>
  IoResult on_file(int file, bool to_write, const Call& call) noexcept;
  IoResult folder_at(int file, FolderRef& found);
  IoResult open_in(const FolderRef& folder, const std::string& name, int flags, std::uint32_t mode);
  FileRef file_of(const FolderRef& folder, const std::string& name, const ObjectEntry& entry, bool made);
  static void fill(const ObjectFolder& folder, FileStatus& status);
  static IoResult status_in(const FolderRef& folder, const std::string& name, FileStatus& status);
  IoResult rename(int directory, const std::string& from, const std::string& to, bool replaces);
  class Control;
  void give_back(const std::shared_ptr<Opened>& opened) noexcept;
  int give_up(const FolderRef& folder, const ObjectOwnerRef& owner, const std::string& why);
  /// Those that `owner` changes.
  static std::vector<FileRef> files_of(const FolderRef& folder, const ObjectOwnerRef& owner);
  /// The same; from here on nobody finds a file as theirs.
  static std::vector<FileRef> last_files_of(const FolderRef& folder, const ObjectOwnerRef& owner);
  static void release(const FolderRef& folder, const ObjectOwnerRef& owner, bool quiet);
  static void note_change(ObjectFolder& folder) noexcept;
  static void end_file(const FolderRef& folder, const FileRef& file);

  ObjectPools& pools_;
  const Times times_;
  const std::uint64_t process_;
  const std::unique_ptr<LeaseKeeper> keeper_;

  Mutex mutex_;
  std::map<PoolName, FolderRef> folders_ PAGESERVER_GUARDED_BY(mutex_);
  std::map<int, std::shared_ptr<Opened>> opened_ PAGESERVER_GUARDED_BY(mutex_);
  int next_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::storage
