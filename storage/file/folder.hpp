// An open folder, and everything that is done by name in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <pageserver/error.hpp>

#include "storage/file/file_io.hpp"
#include "storage/file/file_system.hpp"

namespace pageserver::storage {

/// A store opens, renames, lists and removes each of its files through one open folder, never by its path: image and
/// log stay together when somebody moves the folder while the store is open.
///
/// A Folder is a handle: copies share the descriptor, which is closed with the last of them or by close(). A name is
/// one component; a symbolic link of that name is never followed. Calls that fail throw file_error(). Threads: any.
class Folder {
public:
  Folder() = default;
  /// A folder that may be entered but not read can be opened too: then names() and sync() fail.
  static Folder open(FileSystem& file_system, const std::string& path, std::string_view action = "open the folder");
  /// As open(), for callers that explain a failure in their own words.
  static IoResult try_open(FileSystem& file_system, const std::string& path, Folder& folder);

  bool is_open() const noexcept { return state_ != nullptr && state_->file.is_open(); }
  FileSystem& file_system() const noexcept { return state_->file.file_system(); }
  /// The path that open() was given: for messages.
  const std::string& path() const noexcept { return state_->file.path(); }
  /// The path of `name` when the folder was opened: for messages.
  std::string path_of(const std::string& name) const;
  /// For calls of FileSystem only.
  int descriptor() const noexcept { return state_->file.descriptor(); }
  /// It may be entered but not read.
  bool unreadable() const noexcept { return state_->unreadable; }

  IoResult try_open_file(const std::string& name, int flags, std::uint32_t mode) const;
  File open_file(const std::string& name, int flags, std::uint32_t mode, std::string_view action) const;
  /// Makes a file for reading and writing, under a name that only a store's own files have. A file that has the name
  /// already is removed, and not written to, since it may have other names. Throws provider_error when that is no
  /// regular file: a store makes none.
  File create_file(const std::string& name, std::uint32_t mode, std::string_view action) const;
  IoResult try_create_file(const std::string& name, std::uint32_t mode, std::string_view action) const;
  /// The same, and the name is removed: the file goes with its descriptor.
  File create_unnamed(const std::string& name, std::string_view action) const;
  /// True when something has the name, a symbolic link included; `status` describes it.
  bool has(const std::string& name, FileStatus& status) const;
  IoResult try_rename(const std::string& from, const std::string& to) const;
  /// EEXIST when something has the name `to`.
  IoResult try_rename_new(const std::string& from, const std::string& to) const;
  void rename(const std::string& from, const std::string& to) const;
  /// True when the file was there and was removed.
  bool remove(const std::string& name) const;
  /// The names that begin with `prefix`.
  IoResult try_names(std::vector<std::string>& names, const std::string& prefix = {}) const;
  std::vector<std::string> names() const;
  /// True once a remove() failed or leave_names() was called: the store looks for what is left when it closes.
  bool left_names() const noexcept { return state_->left_names; }
  /// Notes that a file of the store stays in the folder that should not.
  void leave_names() const noexcept { state_->left_names = true; }
  /// Makes the names durable: the files made, renamed and removed.
  void sync() const;
  void close() noexcept;

private:
  struct State {
    File file;
    bool unreadable = false;
    std::atomic<bool> left_names{false};
  };
  std::shared_ptr<State> state_;
};

/// Whether its files have a home that other machines reach: see home.hpp.
bool is_beyond_this_machine(const Folder& folder) noexcept;
/// The run of the operating system that its files depend on; unknown where they lie beyond this machine: what is lost
/// with a process there, is lost on disks when power fails.
Boot boot_of(const Folder& folder) noexcept;

/// The error of a call that needs a name for a store's file, where something else than a regular file has that name.
MemoryError not_ours_error(const Folder& folder, const std::string& name, std::string_view action,
                           const FileStatus& status);

}  // namespace pageserver::storage
