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

namespace pageserver::storage {

struct ImageFileOptions {
  bool read_only = false;          ///< shared lock, never creates
  bool create = true;              ///< make an empty image when there is none
  bool follow_symlinks = true;     ///< false: refuse a path whose last component is a symbolic link
  bool refuse_pending_log = true;  ///< false only for who replays the log itself
  std::uint32_t file_mode = 0640;
};

/// A file's lock. Given back when it ends, also while a child after fork(2) still has the file's descriptor; its end in
/// such a child leaves the lock to the process that took it.
class FileLock {
public:
  FileLock() = default;
  /// Does not wait. busy names who holds it as well as can be known. `file` is open for as long as the lock lives.
  FileLock(const File& file, const std::string& shown_path, LockKind lock);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

private:
  FileSystem* file_system_ = nullptr;  // null: no lock
  int descriptor_ = -1;
  std::uint64_t process_ = 0;
};

/// The file stays locked for as long as the object lives: exclusively for writing, shared for reading.
///
/// Bytes that a call which throws was to change are as before, with one exception: a write that the medium failed in
/// the middle can't be undone. The object then refuses every later read, write and grow with the same error, so that
/// nobody sees half a write through it.
///
/// Threads: read(), data_ranges(), size(), pages(), outside_change() and sync() from any threads at the same time;
/// write(), zero() and grow() one at a time and with nobody else but sync() inside.
class ImageFile {
public:
  /// Throws busy naming the holder as well as can be known; provider_error when the size is no multiple of page_size,
  /// when it is no regular file, or when a log is pending beside it; what check_image_place() throws; and what
  /// file_error() makes of the rest.
  static ImageFile open(FileSystem& file_system, const std::string& path, const ImageFileOptions& options);
  ImageFile(ImageFile&& other) noexcept;
  ~ImageFile();

  std::uint64_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  std::uint64_t pages() const noexcept { return size() / page_size; }
  /// As it was given to open().
  const std::string& path() const noexcept { return given_path_; }
  bool read_only() const noexcept { return read_only_; }
  /// False until the first sync(): whoever made the file may have been killed before it synced the entry.
  bool entry_durable() const noexcept { return entry_durable_; }
  const File& file() const noexcept { return file_; }
  /// The folder that the file was opened in, and its name there: where all else of the store is.
  const Folder& folder() const noexcept { return folder_; }
  const std::string& name() const noexcept { return name_; }

  /// Sparse: sets the size and writes nothing. `size_bytes_max` is the caller's limit. Returns the previous pages.
  std::uint64_t grow(std::uint64_t new_pages, std::uint64_t size_bytes_max);
  void read(std::uint64_t offset, std::span<std::byte> buffer) const;
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// Makes a hole where the file system can, else writes zeros.
  void zero(std::uint64_t offset, std::uint64_t length);
  /// What may hold something else than zeros, in rising order, not overlapping; at most `ranges_max` ranges.
  /// `described_until` is the offset up to which the answer is complete.
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                     std::uint64_t& described_until) const;

  /// Makes durable what the file holds, whoever wrote it, and at the first time its directory entry. After one failure
  /// every later call throws it again: the kernel may have forgotten the bytes, and its next success proves nothing.
  void sync();
  /// Throws provider_error when the file's size is not what it should be.
  void check_size(std::string_view action) const;
  /// Empty, or what someone did to the file behind our back: a message for people.
  std::string outside_change() const;

private:
  /// Pages whose blocks are known to be reserved. Takes memory where there are some, however large the image is.
  class BackedPages {
  public:
    bool has(std::uint64_t page) const;
    void add(std::uint64_t first, std::uint64_t end);
    void remove(std::uint64_t first, std::uint64_t end);

  private:
    static constexpr std::uint64_t group_pages = 65536;
    std::map<std::uint64_t, std::vector<bool>> groups_;  // by first page
  };

  ImageFile(File file, FileLock lock, Folder folder, std::string given_path, bool read_only, bool created,
            std::uint64_t size);
  void refuse_if_torn() const;
  void refuse_if_read_only(std::string_view action) const;
  void reserve(std::uint64_t offset, std::uint64_t length);
  [[noreturn]] void tear(const MemoryError& error);
  void write_zeros(std::uint64_t offset, std::uint64_t length);

  File file_;
  FileLock lock_;  // before the file is closed
  Folder folder_;
  std::string name_;
  std::string given_path_;
  bool read_only_ = false;
  bool created_ = false;  // by open()
  std::atomic<bool> entry_durable_{false};
  std::atomic<std::uint64_t> size_{0};
  BackedPages backed_;
  bool reservable_ = true;
  std::optional<MemoryError> torn_;
  std::optional<MemoryError> sync_error_;  // of sync() alone
};

/// `path` with its symbolic links resolved; as it is when nothing is there. Logs beside the image have the name of what
/// it leads to.
std::string resolved_image_path(FileSystem& file_system, const std::string& path);

/// The size of an image file in bytes; provider_error naming file, size and remainder unless whole pages.
std::uint64_t checked_image_size(const std::string& shown_path, const FileStatus& status);

}  // namespace pageserver::storage
