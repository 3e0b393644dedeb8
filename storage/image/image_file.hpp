// One image in one flat file: opened, locked, checked, read, written, grown and made durable.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/session.hpp>

#include "storage/file/file_io.hpp"
#include "storage/file/file_system.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/home.hpp"

namespace pageserver::storage {

struct ImageFileOptions {
  bool read_only = false;          ///< shared lock, never creates
  bool create = true;              ///< make an empty image when there is none
  bool follow_symlinks = true;     ///< false: refuse a path whose last component is a symbolic link
  bool refuse_pending_log = true;  ///< false only for callers that replay the log themselves
  std::uint32_t file_mode = 0640;
};

/// A file's lock. The destructor releases it, also while a child after fork(2) still has the file's descriptor. In such
/// a child the destructor does nothing: the lock belongs to the process that took it.
class FileLock {
public:
  FileLock() = default;
  /// Does not wait: throws busy, naming the holder as far as it is known. `file` stays open while the lock lives.
  FileLock(const File& file, const std::string& shown_path, LockKind lock);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock() { release(); }
  void release() noexcept;

private:
  FileSystem* file_system_ = nullptr;  // null: no lock
  int descriptor_ = -1;
  std::uint64_t process_ = 0;
};

/// The file stays locked while the object lives: exclusively for writing, shared for reading.
///
/// A call that throws has changed nothing, with one exception: when the medium fails in the middle of a write, the
/// bytes that are written stay. The object then throws the same error from every later read, write and grow, so that
/// nobody sees half a write through it.
///
/// Threads: read(), data_ranges(), size(), pages(), outside_change() and sync() from any threads at the same time;
/// write(), zero() and grow() one at a time and with nobody else but sync() inside.
class ImageFile {
public:
  /// Throws busy, naming the holder as far as it is known; provider_error when the size is no multiple of page_size,
  /// when this is no regular file, or when a log is pending beside it; what check_image_place() throws; file_error()
  /// for all else.
  static ImageFile open(FileSystem& file_system, const std::string& path, const ImageFileOptions& options);
  ImageFile(ImageFile&& other) noexcept;
  ~ImageFile();

  /// Gives back lock and file as the destructor does, and throws what the system says of writes that it had seemed to
  /// take. Nothing else may be called after it.
  void close();

  std::uint64_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  std::uint64_t pages() const noexcept { return size() / page_size; }
  /// The path that open() was given.
  const std::string& path() const noexcept { return given_path_; }
  bool read_only() const noexcept { return read_only_; }
  /// False until the first sync(): the process that made the file may have been killed before it synced the entry.
  bool entry_durable() const noexcept { return entry_durable_; }
  const File& file() const noexcept { return file_; }
  /// Without a lease where nobody can take the lock away.
  FileHome home() const;
  /// The folder that the file was opened in, and its name there. Its siblings lie in that folder, too.
  const Folder& folder() const noexcept { return folder_; }
  const std::string& name() const noexcept { return name_; }

  /// Sparse: sets the size and writes nothing. `size_bytes_max` is the caller's limit. Returns the previous pages.
  std::uint64_t grow(std::uint64_t new_pages, std::uint64_t size_bytes_max);
  void read(std::uint64_t offset, std::span<std::byte> buffer) const;
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// Makes a hole where the file system can, else writes zeros.
  void zero(std::uint64_t offset, std::uint64_t length);
  /// The ranges that may hold something else than zeros, in rising order, not overlapping, at most `ranges_max`. Sets
  /// `described_until` to the offset up to which the answer is complete.
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                     std::uint64_t& described_until) const;

  /// Makes the file's bytes durable, whoever wrote them, and the first call its directory entry as well. After one
  /// failure every later call throws that again: the kernel may have dropped the bytes, and its next success proves
  /// nothing.
  void sync();
  /// Throws provider_error when the file's size is not what it should be.
  void check_size(std::string_view action) const;
  /// The path that open() was given leads to another file now, by a symbolic link that was changed. False when it leads
  /// nowhere, and when nothing can be learned.
  bool is_link_changed() const noexcept;
  /// Empty, or a message for people: what somebody did to the file or its name from outside.
  std::string outside_change() const;

private:
  /// The pages whose blocks are known to be reserved. Takes memory only around such pages, however large the image is.
  class BackedPages {
  public:
    bool has(std::uint64_t page) const;
    void add(std::uint64_t first, std::uint64_t end);
    void remove(std::uint64_t first, std::uint64_t end);

  private:
    static constexpr std::uint64_t group_pages = 65536;
    std::map<std::uint64_t, std::vector<bool>> groups_;  // by first page
  };

  ImageFile(File file, FileLock lock, Folder folder, std::string given_path, std::string link, bool read_only,
            bool created, std::uint64_t size);
  void refuse_if_torn() const;
  void refuse_if_read_only(std::string_view action) const;
  void reserve(std::uint64_t offset, std::uint64_t length);
  [[noreturn]] void tear(const MemoryError& error);
  void write_zeros(std::uint64_t offset, std::uint64_t length);

  File file_;
  FileLock lock_;  // after file_: released before that is closed
  Folder folder_;
  std::string name_;
  std::string given_path_;
  std::string link_;  // the same from the root, where it leads to the file by a symbolic link; else empty
  bool read_only_ = false;
  bool created_ = false;  // by open()
  std::atomic<bool> entry_durable_{false};
  std::atomic<std::uint64_t> size_{0};
  BackedPages backed_;
  bool reservable_ = true;
  std::optional<MemoryError> torn_;
  std::optional<MemoryError> sync_error_;  // of sync() alone
};

/// What can be done about the lock of an image whose home is beyond this machine; null where it lies in a file of this
/// machine, or is not there. Throws file_error() where the home can't be asked.
std::shared_ptr<HomeControl> home_control_of(FileSystem& file_system, const std::string& path);

/// Returns `path` with its symbolic links resolved, or unchanged when nothing is there. An image's siblings are named
/// after the resolved path.
std::string resolved_image_path(FileSystem& file_system, const std::string& path);
/// `path` from the root on, with its symbolic links as they are: what it leads to can be looked at later, whatever the
/// working directory is then. Empty where that can't be had.
std::string path_from_root(FileSystem& file_system, const std::string& path);

/// The size of an image file in bytes. Throws provider_error, naming file, size and remainder, unless it is whole
/// pages.
std::uint64_t checked_image_size(const std::string& shown_path, const FileStatus& status);

}  // namespace pageserver::storage
