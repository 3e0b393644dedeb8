#include "storage/file/folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "storage/file/home.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {
namespace {

// How often a name is freed and tried again when others keep taking it.
constexpr int attempts_max = 16;

}  // namespace

IoResult Folder::try_open(FileSystem& file_system, const std::string& path, Folder& folder) {
  bool unreadable = false;
  IoResult opened = retried([&] { return file_system.open(path, O_RDONLY | O_DIRECTORY, 0); });
  if (opened.error == EACCES) {
    unreadable = true;
    opened = retried([&] { return file_system.open(path, O_PATH | O_DIRECTORY, 0); });
  }
  if (!opened.ok()) return opened;
  File file{file_system, static_cast<int>(opened.value), path};
  folder.state_ = std::make_shared<State>();
  folder.state_->file = std::move(file);
  folder.state_->unreadable = unreadable;
  return {};
}

Folder Folder::open(FileSystem& file_system, const std::string& path, std::string_view action) {
  Folder folder;
  const IoResult opened = try_open(file_system, path, folder);
  if (!opened.ok()) throw file_error(file_system, action, path, opened.error);
  return folder;
}

std::string Folder::path_of(const std::string& name) const { return path_in_folder(path(), name); }

IoResult Folder::try_open_file(const std::string& name, int flags, std::uint32_t mode) const {
  if (mutated(Mutation::open_by_path)) return retried([&] { return file_system().open(path_of(name), flags, mode); });
  return retried([&] { return file_system().open_beneath(descriptor(), name, flags | O_NOFOLLOW, mode); });
}

File Folder::open_file(const std::string& name, int flags, std::uint32_t mode, std::string_view action) const {
  const IoResult opened = try_open_file(name, flags, mode);
  if (!opened.ok()) throw file_error(file_system(), action, path_of(name), opened.error);
  return {file_system(), static_cast<int>(opened.value), path_of(name)};
}

IoResult Folder::try_create_file(const std::string& name, std::uint32_t mode, std::string_view action) const {
  IoResult opened;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    opened = try_open_file(name, O_RDWR | O_CREAT | O_EXCL, mode);
    if (opened.error != EEXIST) break;
    FileStatus status;
    if (has(name, status) && !S_ISREG(status.mode)) throw not_ours_error(*this, name, action, status);
    remove(name);
  }
  return opened;
}

File Folder::create_file(const std::string& name, std::uint32_t mode, std::string_view action) const {
  const IoResult opened = try_create_file(name, mode, action);
  if (!opened.ok()) throw file_error(file_system(), action, path_of(name), opened.error);
  return {file_system(), static_cast<int>(opened.value), path_of(name)};
}

File Folder::create_unnamed(const std::string& name, std::string_view action) const {
  File file = create_file(name, 0600, action);
  remove(name);
  return file;
}

bool Folder::has(const std::string& name, FileStatus& status) const {
  const auto result = retried([&] { return file_system().status_beneath(descriptor(), name, status); });
  if (result.ok()) return true;
  if (result.error == ENOENT) return false;
  throw file_error(file_system(), "look at", path_of(name), result.error);
}

IoResult Folder::try_rename(const std::string& from, const std::string& to) const {
  return retried([&] { return file_system().rename_beneath(descriptor(), from, to); });
}

IoResult Folder::try_rename_new(const std::string& from, const std::string& to) const {
  return retried([&] { return file_system().rename_new_beneath(descriptor(), from, to); });
}

void Folder::rename(const std::string& from, const std::string& to) const {
  const IoResult result = try_rename(from, to);
  if (!result.ok())
    throw file_error(file_system(), "rename " + quoted(path_of(from)) + " to", path_of(to), result.error);
}

bool Folder::remove(const std::string& name) const {
  const auto result = retried([&] { return file_system().remove_beneath(descriptor(), name); });
  if (result.ok()) return true;
  if (result.error == ENOENT) return false;
  state_->left_names = true;
  throw file_error(file_system(), "remove", path_of(name), result.error);
}

IoResult Folder::try_names(std::vector<std::string>& names, const std::string& prefix) const {
  return retried([&] { return file_system().list(descriptor(), prefix, names); });
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  const auto result = try_names(names);
  if (!result.ok()) throw file_error(file_system(), "list the folder", path(), result.error);
  return names;
}

void Folder::sync() const {
  if (unreadable()) throw file_error(file_system(), "open the folder", path(), EACCES);
  state_->file.sync();
}

void Folder::close() noexcept {
  if (state_) state_->file.close();
}

bool is_beyond_this_machine(const Folder& folder) noexcept {
  const IoResult type = retried([&] { return folder.file_system().file_system_type(folder.descriptor()); });
  return type.ok() && type.value == objects_magic;
}

Boot boot_of(const Folder& folder) noexcept {
  return is_beyond_this_machine(folder) ? Boot{} : folder.file_system().boot();
}

MemoryError not_ours_error(const Folder& folder, const std::string& name, std::string_view action,
                           const FileStatus& status) {
  const char* const kind = S_ISDIR(status.mode)   ? "a folder"
                           : S_ISLNK(status.mode) ? "a symbolic link"
                                                  : "a device, a pipe or a socket";
  return {Errc::provider_error, std::string{action} + " " + quoted(folder.path_of(name)) + ": " + kind +
                                    " has this name, which only files of a store have; move it away"};
}

}  // namespace pageserver::storage
