// The one seam to the operating system's files. Everything in storage/ calls the file system through it, so that a
// test can make any call fail, tear what it wrote, or forget what was never synced.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pageserver::storage {

/// The result of a call: `value` >= 0 on success, else `error` is an errno and `value` is -1.
struct [[nodiscard]] IoResult {
  std::int64_t value = 0;
  int error = 0;
  bool ok() const noexcept { return error == 0; }
};

struct FileStatus {
  std::uint64_t size_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t links = 0;
  std::uint64_t mount = 0;    ///< a number of the mount that it was reached through; 0 where the kernel does not say
  std::int64_t birth_ns = 0;  ///< 0 where the file system does not say
  /// Of an open file without a birth time: a number that tells it from an earlier file of the same inode number; 0: not
  /// known.
  std::uint64_t generation = 0;
  std::int64_t modified_ns = 0;  ///< 0: not kept, where nobody can change the file but who has it locked
  std::int64_t changed_ns = 0;   ///< anything about it, names of a folder too; nobody can set it. 0: not known
  /// Of an open file: whether it can be read past the page cache (STATX_DIOALIGN); nothing where the kernel, or the
  /// file system, does not say.
  std::optional<bool> direct_reads;
  std::uint32_t mode = 0;  ///< type and permission bits as in stat(2)
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

/// One run of the operating system. Its end loses bytes that were written and not synced, unless the disk happens to
/// have them.
struct Boot {
  std::uint64_t id = 0;         ///< differs from that of other runs; 0: not known
  std::int64_t started_ns = 0;  ///< by now_ns() as it is set now; 0: not known
};

struct FileHome;  // home.hpp

enum class LockKind : std::uint8_t { shared, exclusive };

/// The calls that storage/ needs, each as thin as the system call it stands for: no loops over short transfers or
/// EINTR, no messages, no locks of its own. A file is the descriptor that open() returned. Callers loop and explain
/// (file_io.hpp).
///
/// Every call is pure. With a default body, a class that forwards to another file system could miss a call and nobody
/// would notice. A class that forwards derives from ForwardingFileSystem.
///
/// Threads: any, also on one descriptor, as with the system calls themselves.
class FileSystem {
public:
  FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  virtual ~FileSystem() = default;

  /// open(2), with O_CLOEXEC always added. The value is the descriptor.
  virtual IoResult open(const std::string& path, int flags, std::uint32_t mode) = 0;
  /// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: `name` can't leave the open directory `directory`.
  virtual IoResult open_beneath(int directory, const std::string& name, int flags, std::uint32_t mode) = 0;
  /// The descriptor is gone in any case. The value is 0, or the errno of writes which had seemed to succeed.
  virtual int close(int file) noexcept = 0;

  virtual IoResult read_at(int file, std::uint64_t offset, std::span<std::byte> buffer) = 0;
  using Moment = std::chrono::steady_clock::time_point;
  /// The same, but ETIMEDOUT where a home beyond this machine has not answered at `deadline`: what comes later changes
  /// nothing in `buffer`. Files of an operating system take the time that they take.
  virtual IoResult read_until(int file, std::uint64_t offset, std::span<std::byte> buffer, Moment /*deadline*/) {
    return read_at(file, offset, buffer);
  }
  virtual IoResult write_at(int file, std::uint64_t offset, std::span<const std::byte> data) = 0;
  /// pwritev(2): the parts one after the other.
  virtual IoResult write_parts_at(int file, std::uint64_t offset,
                                  std::span<const std::span<const std::byte>> parts) = 0;
  virtual IoResult truncate(int file, std::uint64_t size_bytes) = 0;
  /// fallocate(2) with FALLOC_FL_KEEP_SIZE: reserves blocks, changes neither size nor content.
  virtual IoResult reserve(int file, std::uint64_t offset, std::uint64_t length) = 0;
  /// fallocate(2) with PUNCH_HOLE and KEEP_SIZE: the range reads as zeros and takes no room.
  virtual IoResult punch_hole(int file, std::uint64_t offset, std::uint64_t length) = 0;
  /// lseek(2) with SEEK_DATA, SEEK_HOLE: ENXIO past the last data.
  virtual IoResult seek_data(int file, std::uint64_t offset) = 0;
  virtual IoResult seek_hole(int file, std::uint64_t offset) = 0;
  /// sync_file_range(2) with SYNC_FILE_RANGE_WRITE: the disk begins to write what was written there. A hint, which
  /// promises nothing.
  virtual void start_writeback(int file, std::uint64_t offset, std::uint64_t length) noexcept = 0;
  /// posix_fadvise(2) with POSIX_FADV_DONTNEED: pages that are on disk need not stay in memory. A hint as well.
  virtual void drop_from_memory(int file, std::uint64_t offset, std::uint64_t length) noexcept = 0;
  /// fdatasync(2): the content and the size are durable.
  virtual IoResult sync_data(int file) = 0;
  /// fsync(2); on a directory's descriptor: its entries are durable.
  virtual IoResult sync(int file) = 0;

  /// lseek(2) with SEEK_END: how many bytes the file has. The cheapest question about it.
  virtual IoResult size(int file) = 0;
  virtual IoResult status(int file, FileStatus& status) = 0;
  /// statx(2) of a path, not following a symbolic link in the last component.
  virtual IoResult status_of(const std::string& path, FileStatus& status) = 0;
  /// The same of a single component in the open directory `directory`.
  virtual IoResult status_beneath(int directory, const std::string& name, FileStatus& status) = 0;
  /// realpath(3): `path` without symbolic links.
  virtual IoResult real_path(const std::string& path, std::string& resolved) = 0;
  /// fstatfs(2): the value is the file system's magic number.
  virtual IoResult file_system_type(int file) = 0;
  /// flock(2) without waiting: EWOULDBLOCK when someone else holds it. Closing the descriptor releases it, unless a
  /// child after fork(2) still has it.
  virtual IoResult lock(int file, LockKind lock) = 0;
  /// flock(2) with LOCK_UN: also releases it for other processes that share the descriptor.
  virtual void unlock(int file) noexcept = 0;
  /// Of a file with a home beyond this machine: who has its lock, and where this descriptor has it the lease that this
  /// is. ENOTSUP for the operating system's own files.
  virtual IoResult home_of(int file, FileHome& home) = 0;

  /// mmap(2), shared and for reading only, of the file's first `length` bytes. Bytes past the file's end are mapped,
  /// too, and must not be touched. ENOTSUP where there is nothing to map: callers then read.
  virtual IoResult map(int file, std::uint64_t length, const std::byte*& address) = 0;
  virtual void unmap(const std::byte* address, std::uint64_t length) noexcept = 0;

  /// The clock that modification times come from, in nanoseconds since 1970-01-01 UTC. It may be set at any time.
  virtual std::int64_t now_ns() noexcept = 0;
  /// The same clock as files of this machine's file systems get their times from it: it may stand still for some ms.
  /// What is changed from now on has no time before it.
  virtual std::int64_t file_clock_ns() noexcept = 0;
  virtual Boot boot() noexcept = 0;

  /// Names are changed and listed in an open directory only, never by path: the directory may be moved at any time.
  /// renameat(2), unlinkat(2): a name is one component; a symbolic link is renamed or removed itself.
  virtual IoResult rename_beneath(int directory, const std::string& from, const std::string& to) = 0;
  /// renameat2(2) with RENAME_NOREPLACE, or what comes to the same where the file system can't: EEXIST when something
  /// has the name.
  virtual IoResult rename_new_beneath(int directory, const std::string& from, const std::string& to) = 0;
  virtual IoResult remove_beneath(int directory, const std::string& name) = 0;
  /// The names in it that begin with `prefix`, in no order, without "." and "..".
  virtual IoResult list(int directory, const std::string& prefix, std::vector<std::string>& names) = 0;
};

/// The operating system's own files.
FileSystem& posix_file_system();

/// These, and at paths that name a home beyond this machine the files of that: see home_paths.hpp. The module of a home
/// is loaded by the first call that needs it.
FileSystem& all_file_systems();

}  // namespace pageserver::storage
