#include "storage/image/image_lifecycle.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>

#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

std::string marker_of(const std::string& name) { return sibling_name(name, Sibling::removed, 1); }

MemoryError busy(const std::string& shown_path, const char* what) {
  return {Errc::busy, "remove " + quoted(shown_path) + ": another program " + what + "; try again when it is done"};
}

bool locked(const File& file) {
  return retried([&] { return file.file_system().lock(file.descriptor(), LockKind::exclusive); }).ok();
}

/// Removes the siblings and then the marker, which is locked by this process.
void remove_rest(const Folder& folder, const std::string& name) {
  // Before a sibling goes, the image's new name is durable: a crash never leaves the image without its log.
  if (!mutated(Mutation::drop_removed_image_sync)) folder.sync();
  const SiblingFiles siblings = list_siblings(folder, name);
  for (const auto* names : {&siblings.log, &siblings.scratch, &siblings.resume})
    for (const std::string& other : *names) folder.remove(other);
  if (!mutated(Mutation::drop_removed_log_sync)) folder.sync();
  folder.remove(marker_of(name));
  folder.sync();
}

}  // namespace

bool finish_removal(const Folder& folder, const std::string& name, const std::string& shown_path) {
  const std::string marker = marker_of(name);
  FileStatus status;
  const auto found = retried([&] { return folder.file_system().status_beneath(folder.descriptor(), marker, status); });
  if (!found.ok() || !S_ISREG(status.mode)) return false;  // other faults are reported by the opening that follows
  File file;
  {
    const IoResult opened = folder.try_open_file(marker, O_RDONLY | O_NONBLOCK, 0);
    if (opened.error == ENOENT) return false;
    if (!opened.ok()) throw file_error(folder.file_system(), "open", folder.path_of(marker), opened.error);
    file = File{folder.file_system(), static_cast<int>(opened.value), folder.path_of(marker)};
  }
  if (!locked(file)) throw busy(shown_path, "is removing or creating it");
  // The process that held the lock may have finished just before it let go.
  FileStatus named;
  if (!folder.has(marker, named) || named.inode != file.status().inode) return false;
  FileStatus image;
  if (folder.has(name, image)) {
    // Somebody put another image in the place since: the siblings may belong to that one.
    folder.remove(marker);
    folder.sync();
    return true;
  }
  remove_rest(folder, name);
  return true;
}

void create_image(const Folder& folder, const std::string& name, std::uint64_t pages, std::uint32_t mode,
                  const std::string& shown_path) {
  const auto there_is_one = [&] {
    return MemoryError{Errc::already_exists, "create " + quoted(shown_path) + ": there is one already"};
  };
  finish_removal(folder, name, shown_path);
  FileStatus status;
  if (folder.has(name, status)) throw there_is_one();
  const bool in_place = mutated(Mutation::create_in_place);
  const std::string marker = in_place ? name : marker_of(name);
  const IoResult made = folder.try_open_file(marker, O_RDWR | O_CREAT | O_EXCL, mode);
  if (!made.ok()) throw file_error(folder.file_system(), "create", shown_path, made.error);
  const File file{folder.file_system(), static_cast<int>(made.value), shown_path};
  std::string has = marker;
  try {
    FileStatus named;
    const bool is_ours = locked(file) && folder.has(has, named) && named.inode == file.status().inode;
    if (!is_ours) {
      // Another process took the file for a crash's leftover and removed it: the name is not ours any more.
      has.clear();
      throw busy(shown_path, "is removing or creating it");
    }
    file.truncate(pages * page_size);
    file.sync();
    const IoResult renamed = in_place ? IoResult{} : folder.try_rename_new(marker, name);
    if (renamed.error == EEXIST) throw there_is_one();
    if (!renamed.ok()) throw file_error(folder.file_system(), "create", shown_path, renamed.error);
    has = name;
    folder.sync();
  } catch (...) {
    if (!has.empty()) static_cast<void>(folder.file_system().remove_beneath(folder.descriptor(), has));
    throw;
  }
}

namespace {

/// Throws where something that is no regular file has the marker's name: it is somebody else's, and stays.
void rename_to_marker(const Folder& folder, const std::string& name, const std::string& shown_path) {
  const std::string marker = marker_of(name);
  const IoResult renamed = folder.try_rename_new(name, marker);
  FileStatus status;
  if (renamed.error == EEXIST && folder.has(marker, status) && !S_ISREG(status.mode))
    throw not_ours_error(folder, marker, "remove", status);
  if (renamed.error == EEXIST) throw busy(shown_path, "is removing or creating it");
  if (!renamed.ok()) throw file_error(folder.file_system(), "remove", shown_path, renamed.error);
}

}  // namespace

bool remove_image(const Folder& folder, const std::string& name, const std::string& shown_path) {
  const bool finished = finish_removal(folder, name, shown_path);
  FileStatus status;
  if (!folder.has(name, status)) {
    const SiblingFiles siblings = list_siblings(folder, name);
    for (const auto* names : {&siblings.log, &siblings.scratch, &siblings.resume})
      for (const std::string& other : *names) folder.remove(other);
    if (siblings.log.empty() && siblings.scratch.empty() && siblings.resume.empty()) return finished;
    folder.sync();
    return true;
  }
  const IoResult opened = folder.try_open_file(name, O_RDONLY | O_NONBLOCK, 0);
  if (!opened.ok()) throw file_error(folder.file_system(), "remove", shown_path, opened.error);
  const File image{folder.file_system(), static_cast<int>(opened.value), shown_path};
  if (!locked(image)) throw busy(shown_path, "has it open and locked");
  if (!folder.has(name, status) || status.inode != image.status().inode)
    throw busy(shown_path, "put another file in its place");
  if (mutated(Mutation::remove_image_first))
    folder.remove(name);
  else
    rename_to_marker(folder, name, shown_path);
  remove_rest(folder, name);
  return true;
}

}  // namespace pageserver::storage
