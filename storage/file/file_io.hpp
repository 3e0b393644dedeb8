// An open file over the seam: each transfer is whole or an error, and each error says what people can do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "base/home_paths.hpp"
#include "base/text.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// The MemoryError for a failed call: `action` (what was tried, with its numbers), the path, the system's own words and
/// the remedy. ENOSPC and EDQUOT are no_space; EACCES and EPERM permission_denied, naming the owner of what is in the
/// way and the uid that this process runs as; EROFS read_only; ENOENT not_found, naming the missing folder when it is
/// one; EFBIG and EMFILE limit_exceeded; all else provider_error.
MemoryError file_error(FileSystem& file_system, std::string_view action, const std::string& path, int error);

using base::is_home_path;
using base::quoted;

/// The folder that holds `path`: "." for a bare name. Of a home's path (home_paths.hpp) its keys stay with the folder.
std::string parent_folder(const std::string& path);
/// `name` in the folder `folder`: `ceph:POOL?id=x` and `a` are `ceph:POOL/a?id=x`, `.` and `a` are `a`.
std::string path_in_folder(const std::string& folder, const std::string& name);
/// The last component of `path`.
std::string file_name(const std::string& path);

/// Runs `call` again for as long as a signal interrupts it.
template <class Call>
IoResult retried(Call&& call) {
  for (;;) {
    const IoResult result = call();
    if (result.error != 4 /* EINTR */) return result;
  }
}

/// Loops over short transfers and EINTR until all is done, the file ends (read) or a call fails. `done` is the number
/// of bytes transferred, also on an error.
IoResult read_fully(FileSystem& file_system, int file, std::uint64_t offset, std::span<std::byte> buffer,
                    std::size_t& done, const std::optional<FileSystem::Moment>& deadline = {});
IoResult write_fully(FileSystem& file_system, int file, std::uint64_t offset, std::span<const std::byte> data,
                     std::size_t& done);

/// An open file, closed by the destructor. Every call may throw file_error(); its text begins with `action`, or with
/// the call's name and numbers where the call takes no `action`.
///
/// Threads: any for the const calls, as with the system calls themselves.
class File {
public:
  File() = default;
  /// Takes over `descriptor`.
  File(FileSystem& file_system, int descriptor, std::string path);
  /// Takes over `other`, which has another path now.
  File(File&& other, std::string path) noexcept;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  /// open(2); `action` such as "open".
  static File open(FileSystem& file_system, const std::string& path, int flags, std::uint32_t mode,
                   std::string_view action);

  bool is_open() const noexcept { return descriptor_ >= 0; }
  int descriptor() const noexcept { return descriptor_; }
  const std::string& path() const noexcept { return path_; }
  FileSystem& file_system() const noexcept { return *file_system_; }
  void close() noexcept;
  /// As close(), and says what the system says: that writes which had seemed to succeed are lost.
  void close_and_tell();

  using Deadline = std::optional<FileSystem::Moment>;
  /// Fills `buffer`. Throws provider_error when the file ends before that, and timed_out as FileSystem::read_until().
  void read(std::uint64_t offset, std::span<std::byte> buffer, const Deadline& deadline = {}) const;
  /// Fills `buffer` as far as the file goes; returns the number of bytes.
  std::size_t read_up_to(std::uint64_t offset, std::span<std::byte> buffer, const Deadline& deadline = {}) const;
  void write(std::uint64_t offset, std::span<const std::byte> data) const;
  /// Writes the parts one after the other, by one call.
  void write_parts(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) const;
  void truncate(std::uint64_t size_bytes) const;
  /// False where the file system can't reserve room.
  bool reserve(std::uint64_t offset, std::uint64_t length) const;
  /// False where the file system can't punch holes; nothing changed then.
  bool punch_hole(std::uint64_t offset, std::uint64_t length) const;
  /// The parts of `[offset, end)` that may hold data, in rising order, at most `ranges_max`. Sets `described_until`:
  /// all else before that is a hole. Where the file system knows of no holes, everything may hold data.
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t end, std::size_t ranges_max,
                                     std::uint64_t& described_until) const;
  /// The first byte in `[offset, end)` that may hold data; `end` when there is none.
  std::uint64_t next_data(std::uint64_t offset, std::uint64_t end) const;
  void sync_data() const;
  void sync() const;
  FileStatus status() const;

  [[noreturn]] void fail(std::string_view action, int error) const;

private:
  FileSystem* file_system_ = nullptr;
  int descriptor_ = -1;
  std::string path_;
};

/// True when something is at `path`, a symbolic link itself included; `status` describes it.
bool exists(FileSystem& file_system, const std::string& path, FileStatus& status);
/// Makes the entries of the folder that holds `path` durable: after creating, renaming or removing it.
void sync_parent_folder(FileSystem& file_system, const std::string& path);
/// For programs that have no folder open; a store renames its files through its Folder. Both paths are in one folder.
void rename_file(FileSystem& file_system, const std::string& from, const std::string& to);
/// True when the file was there and was removed.
bool remove_file(FileSystem& file_system, const std::string& path);
std::vector<std::string> list_folder(FileSystem& file_system, const std::string& folder);

/// The whole of a small file, also of one under /proc, which has no size; empty when it can't be read.
std::string text_of_file(FileSystem& file_system, const std::string& path);

/// True for the errors of fallocate(2) and lseek(2) that mean "this file system can't do that".
bool is_unsupported(int error) noexcept;

}  // namespace pageserver::storage
