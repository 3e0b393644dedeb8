// Opening an image: it must be the right file, locked, of whole pages, and without a log that waits to be replayed.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/process_mark.hpp"
#include "storage/file/home.hpp"
#include "storage/file/lock_holder.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"
#include "storage/image/image_file.hpp"
#include "storage/image/image_lifecycle.hpp"

namespace pageserver::storage {
namespace {

// How often an opening starts again because the file was replaced between opening and locking.
constexpr int open_attempts_max = 16;

struct OpenedFile {
  File file;
  bool created = false;
};

/// Returns nothing when the file came or went between two looks: the caller tries again.
std::optional<OpenedFile> open_once(const Folder& folder, const std::string& shown_path, const std::string& name,
                                    const ImageFileOptions& options) {
  // O_NONBLOCK has no effect on a regular file; opening a FIFO would wait for its other end without it.
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY;
  auto& file_system = folder.file_system();
  auto result = folder.try_open_file(name, flags, 0);
  if (result.ok()) return OpenedFile{File{file_system, static_cast<int>(result.value), folder.path_of(name)}, false};
  if (result.error == ELOOP && options.follow_symlinks) {
    // Symbolic links that lead to a file were resolved before: this one is new, or leads nowhere.
    std::string leads_to;
    result = retried([&] { return file_system.real_path(shown_path, leads_to); });
    if (result.ok() || (result.error == ENOENT && options.create && !options.read_only)) return std::nullopt;
  }
  if (result.error != ENOENT || options.read_only || !options.create) {
    throw file_error(file_system, "open", shown_path, result.error);
  }
  result = folder.try_open_file(name, flags | O_CREAT | O_EXCL, options.file_mode);
  if (result.ok()) return OpenedFile{File{file_system, static_cast<int>(result.value), folder.path_of(name)}, true};
  if (result.error == EEXIST) return std::nullopt;
  throw file_error(file_system, "create", shown_path, result.error);
}

/// Whether the locked file still has its name. A rename or removal between opening and locking would leave the lock on
/// a file that nobody else finds.
bool still_named(const Folder& folder, const std::string& name, const FileStatus& locked) {
  FileStatus named;
  return folder.has(name, named) && named.inode == locked.inode && named.device == locked.device;
}

bool is_missing(const Folder& folder, const std::string& name) {
  FileStatus status;
  return retried([&] { return folder.file_system().status_beneath(folder.descriptor(), name, status); }).error ==
         ENOENT;
}

void check_regular(const std::string& shown_path, const FileStatus& status) {
  if (S_ISREG(status.mode)) return;
  const auto* const kind = S_ISDIR(status.mode) ? "a folder" : "a device, a pipe or a socket";
  throw MemoryError{Errc::provider_error, "open " + quoted(shown_path) + ": it is " + kind +
                                              " and not a regular file; name the image file itself"};
}

/// Refuses a file that has several names, or is mounted by itself. Writes go to a log beside the image first, and an
/// opening under another name or in another folder would not find that log.
void check_one_place(const Folder& folder, const std::string& shown_path, const FileStatus& status) {
  if (status.links > 1) {
    throw MemoryError{Errc::provider_error,
                      "open " + quoted(shown_path) + " for writing: the file has " + std::to_string(status.links) +
                          " names (hard links), and its log lies beside one of them: what is written under one name "
                          "would be lost or undone under another; remove all names but one (`find FOLDER -samefile " +
                          shown_path + "` lists them), or serve a copy of the file"};
  }
  FileStatus beside;
  if (!retried([&] { return folder.file_system().status(folder.descriptor(), beside); }).ok()) return;
  if (status.mount == beside.mount || status.mount == 0 || beside.mount == 0) return;
  throw MemoryError{Errc::provider_error,
                    "open " + quoted(shown_path) + " for writing: the file is mounted by itself, on mount " +
                        std::to_string(status.mount) + ", and its folder is on mount " + std::to_string(beside.mount) +
                        ": the log would be made in that folder, where whoever opens the image in its own folder does "
                        "not find it; mount the folder that holds the image instead"};
}

void refuse_log(const Folder& folder, const std::string& shown_path, const std::string& log) {
  throw MemoryError{Errc::provider_error,
                    "open " + quoted(shown_path) + ": the log " + quoted(folder.path_of(log)) +
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

std::string path_from_root(FileSystem& file_system, const std::string& path) {
  std::string here;
  if (path.starts_with('/') || is_home_path(path)) return path;
  if (!retried([&] { return file_system.real_path(".", here); }).ok()) return {};
  return here + "/" + path;
}

std::shared_ptr<HomeControl> home_control_of(FileSystem& file_system, const std::string& path) {
  if (!is_home_path(path)) return nullptr;
  const auto opened = retried([&] { return file_system.open(path, O_RDONLY, 0); });
  if (opened.error == ENOENT) return nullptr;
  if (!opened.ok()) throw file_error(file_system, "look at", path, opened.error);
  const File file{file_system, static_cast<int>(opened.value), path};
  FileHome home;
  const auto found = retried([&] { return file_system.home_of(file.descriptor(), home); });
  if (!found.ok()) throw file_error(file_system, "look at", path, found.error);
  return home.control;
}

FileLock::FileLock(const File& file, const std::string& shown_path, LockKind lock) {
  if (mutated(Mutation::skip_image_lock)) return;
  auto& file_system = file.file_system();
  const auto result = retried([&] { return file_system.lock(file.descriptor(), lock); });
  if (result.ok()) {
    file_system_ = &file_system;
    descriptor_ = file.descriptor();
    process_ = base::process_mark();
    return;
  }
  if (result.error != EWOULDBLOCK) throw file_error(file_system, "lock", shown_path, result.error);
  FileHome home;
  const bool beyond = retried([&] { return file_system.home_of(file.descriptor(), home); }).ok();
  const auto* const purpose = lock == LockKind::exclusive ? "writing" : "reading";
  throw MemoryError{Errc::busy, "open " + quoted(shown_path) + " for " + purpose + ": the file is locked by " +
                                    (beyond ? (home.holder.empty() ? "another process" : home.holder)
                                            : lock_holder(file_system, file.status())) +
                                    "; end it, or use the image through the daemon that serves it"};
}

FileLock::FileLock(FileLock&& other) noexcept
    : file_system_{std::exchange(other.file_system_, nullptr)},
      descriptor_{other.descriptor_},
      process_{other.process_} {}

void FileLock::release() noexcept {
  if (file_system_ != nullptr && process_ == base::process_mark()) file_system_->unlock(descriptor_);
  file_system_ = nullptr;
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
  for (int attempt = 0; attempt < open_attempts_max; ++attempt) {
    const auto resolved = options.follow_symlinks ? resolved_image_path(file_system, path) : path;
    Folder folder;
    const auto entered = Folder::try_open(file_system, parent_folder(resolved), folder);
    if (!entered.ok()) {
      const bool creates = entered.error == ENOENT && options.create && !options.read_only;
      throw file_error(file_system, creates ? "create" : "open", path, entered.error);
    }
    const std::string name = resolved == "/" ? "." : file_name(resolved);
    if (!options.read_only && options.create) finish_removal(folder, name, path);
    // Before open_once() creates a file: a log may lie there whose image is gone.
    check_image_place(folder, name, "open", path);
    if (!options.read_only && (!options.refuse_pending_log || is_missing(folder, name)))
      check_room_for_siblings(folder, name, "open", path);
    auto opened = open_once(folder, path, name, options);
    if (!opened) continue;
    const FileStatus status = opened->file.status();
    check_regular(path, status);
    FileLock lock{opened->file, path, options.read_only ? LockKind::shared : LockKind::exclusive};
    if (!still_named(folder, name, status)) continue;
    if (!options.read_only) check_one_place(folder, path, status);
    if (options.refuse_pending_log) {
      const SiblingFiles siblings = list_visible_siblings(folder, name);
      if (!siblings.log.empty()) refuse_log(folder, path, siblings.log.front());
    }
    // The status again: the process that held the lock before may have grown the file until then.
    const auto size = checked_image_size(path, opened->file.status());
    std::string link = options.follow_symlinks ? path_from_root(file_system, path) : std::string{};
    if (link == resolved) link.clear();
    return ImageFile{std::move(opened->file), std::move(lock),   std::move(folder), path,
                     std::move(link),         options.read_only, opened->created,   size};
  }
  throw MemoryError{Errc::busy, "open " + quoted(path) + ": the path named another file at each of " +
                                    std::to_string(open_attempts_max) +
                                    " attempts; stop what keeps replacing it, or correct a dangling symbolic link"};
}

}  // namespace pageserver::storage
