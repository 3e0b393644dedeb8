// Opening an image: the right file, locked, whole, and not waiting for a log.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "storage/image_file.hpp"
#include "storage/lock_holder.hpp"

namespace pageserver::storage {
namespace {

// How often the file may be replaced between opening and locking before it is somebody's mistake.
constexpr int attempts_max = 16;

struct Opened {
  File file;
  bool created = false;
};

/// Nothing when the file came or went between two looks.
std::optional<Opened> open_once(FileSystem& file_system, const std::string& shown_path, const std::string& path,
                                const ImageFileOptions& options) {
  // O_NONBLOCK means nothing to a regular file and spares us waiting for a FIFO's other end.
  int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY;
  if (!options.follow_symlinks) flags |= O_NOFOLLOW;
  auto result = retried([&] { return file_system.open(path, flags, 0); });
  if (result.ok()) return Opened{File{file_system, static_cast<int>(result.value), path}, false};
  if (result.error != ENOENT || options.read_only || !options.create) {
    throw file_error(file_system, "open", shown_path, result.error);
  }
  result = retried([&] { return file_system.open(path, flags | O_CREAT | O_EXCL, options.file_mode); });
  if (result.ok()) {
    // Resolved now that it exists: its folder is synced later, when the process may have another working folder.
    return Opened{File{file_system, static_cast<int>(result.value), resolved_image_path(file_system, path)}, true};
  }
  if (result.error == EEXIST) return std::nullopt;
  throw file_error(file_system, "create", shown_path, result.error);
}

/// A rename or a removal can slip between opening and locking: the lock is then on a file that nobody else finds.
bool still_named(FileSystem& file_system, const std::string& path, const FileStatus& locked) {
  FileStatus named;
  return exists(file_system, path, named) && named.inode == locked.inode && named.device == locked.device;
}

void check_regular(const std::string& shown_path, const FileStatus& status) {
  if (S_ISREG(status.mode)) return;
  const auto* const kind = S_ISDIR(status.mode) ? "a folder" : "a device, a pipe or a socket";
  throw MemoryError{Errc::provider_error, "open " + quoted(shown_path) + ": it is " + kind +
                                              " and not a regular file; name the image file itself"};
}

void check_no_log(FileSystem& file_system, const std::string& shown_path, const std::string& path) {
  const auto log = pending_log(file_system, path);
  if (!log) return;
  throw MemoryError{Errc::provider_error,
                    "open " + quoted(shown_path) + ": the log " + quoted(*log) +
                        " is pending: it holds bytes that the image does not have yet; start the daemon on the image, "
                        "or run: pagectl recover " +
                        shown_path};
}

}  // namespace

std::string resolved_image_path(FileSystem& file_system, const std::string& path) {
  std::string resolved;
  if (retried([&] { return file_system.real_path(path, resolved); }).ok()) return resolved;
  return path;
}

std::optional<std::string> pending_log(FileSystem& file_system, const std::string& resolved_path) {
  const auto prefix = file_name(resolved_path) + ".log.";
  const auto folder = parent_folder(resolved_path);
  std::vector<std::string> names;
  const auto listed = retried([&] { return file_system.list(folder, names); });
  if (!listed.ok()) {
    // A folder that may be entered but not listed is legal; the opening itself explains what else is wrong with it.
    if (listed.error == EACCES || listed.error == ENOENT || listed.error == ENOTDIR) return std::nullopt;
    throw file_error(file_system, "list the folder", folder, listed.error);
  }
  std::optional<std::string> first;
  for (const auto& name : names) {
    if (name.starts_with(prefix) && (!first || name < *first)) first = name;
  }
  if (!first) return std::nullopt;
  return folder == "." ? *first : (folder == "/" ? folder : folder + "/") + *first;
}

void lock_file(const File& file, const std::string& shown_path, Lock lock) {
  auto& file_system = file.file_system();
  const auto result = retried([&] { return file_system.lock(file.descriptor(), lock); });
  if (result.ok()) return;
  if (result.error != EWOULDBLOCK) throw file_error(file_system, "lock", shown_path, result.error);
  const auto* const purpose = lock == Lock::exclusive ? "writing" : "reading";
  throw MemoryError{Errc::busy, "open " + quoted(shown_path) + " for " + purpose + ": the file is locked by " +
                                    lock_holder(file_system, file.status()) +
                                    "; end it, or use the image through the daemon that serves it"};
}

std::uint64_t checked_image_size(const std::string& shown_path, const FileStatus& status) {
  const auto remainder = status.size_bytes % page_size;
  if (remainder == 0) return status.size_bytes;
  throw MemoryError{Errc::provider_error, "open " + quoted(shown_path) + ": size=" + std::to_string(status.size_bytes) +
                                              " is no multiple of " + std::to_string(page_size) +
                                              " (remainder=" + std::to_string(remainder) +
                                              "), so it is no whole image; restore it from a copy"};
}

ImageFile ImageFile::open(FileSystem& file_system, const std::string& path, const ImageFileOptions& options) {
  if (path.empty()) throw MemoryError{Errc::invalid_argument, "open: the path of the image is empty; name a file"};
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    const auto resolved = options.follow_symlinks ? resolved_image_path(file_system, path) : path;
    FileStatus status;
    const bool log_matters = options.refuse_pending_log;
    // Before anything is created beside a log whose image is gone.
    const bool there = file_system.status_of(resolved, status).ok();
    if (!there && log_matters) check_no_log(file_system, path, resolved);
    auto opened = open_once(file_system, path, resolved, options);
    if (!opened) continue;
    status = opened->file.status();
    check_regular(path, status);
    lock_file(opened->file, path, options.read_only ? Lock::shared : Lock::exclusive);
    if (!still_named(file_system, resolved, status)) continue;
    if (log_matters) check_no_log(file_system, path, resolved);
    // Again: whoever held the lock may have grown the file until a moment ago.
    const auto size = checked_image_size(path, opened->file.status());
    return ImageFile{std::move(opened->file), path, options.read_only, opened->created, size};
  }
  throw MemoryError{Errc::busy, "open " + quoted(path) + ": the path named another file at each of " +
                                    std::to_string(attempts_max) +
                                    " attempts; stop what keeps replacing it, or correct a dangling symbolic link"};
}

}  // namespace pageserver::storage
