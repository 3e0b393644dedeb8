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

/// Every file of a store is opened, renamed, listed and removed through one open folder, never by its path: when
/// someone moves the folder while the store is open, image and log stay together, wherever they are now.
///
/// A handle: copies share the descriptor, which is closed with the last of them or by close(). A name is one component;
/// a symbolic link of that name is never followed. Calls that fail throw what file_error() makes of it. Threads: any.
class Folder {
public:
  Folder() = default;
  /// A folder that may be entered but not read can be opened too: then names() and sync() fail.
  static Folder open(FileSystem& file_system, const std::string& path, std::string_view action = "open the folder");
  /// As open(), for those who explain a failure in their own words.
  static IoResult try_open(FileSystem& file_system, const std::string& path, Folder& folder);

  bool is_open() const noexcept { return state_ != nullptr && state_->file.is_open(); }
  FileSystem& file_system() const noexcept { return state_->file.file_system(); }
  /// As it was given to open(): for messages.
  const std::string& path() const noexcept { return state_->file.path(); }
  /// Where `name` was when the folder was opened: for messages.
  std::string path_of(const std::string& name) const;
  /// For no more than calls of FileSystem.
  int descriptor() const noexcept { return state_->file.descriptor(); }
  /// It may be entered but not read.
  bool unreadable() const noexcept { return state_->unreadable; }

  IoResult try_open_file(const std::string& name, int flags, std::uint32_t mode) const;
  File open_file(const std::string& name, int flags, std::uint32_t mode, std::string_view action) const;
  /// A new file for reading and writing, under a name that only files of ours have. A file that has it already is
  /// removed, and not written to: it may have other names. Throws provider_error when it is no regular file, which is
  /// nothing of ours.
  File create_file(const std::string& name, std::uint32_t mode, std::string_view action) const;
  IoResult try_create_file(const std::string& name, std::uint32_t mode, std::string_view action) const;
  /// The same, without the name from then on: the file goes with its descriptor.
  File create_unnamed(const std::string& name, std::string_view action) const;
  /// True when something has the name, a symbolic link included; `status` describes it.
  bool has(const std::string& name, FileStatus& status) const;
  IoResult try_rename(const std::string& from, const std::string& to) const;
  /// EEXIST when something has the name `to`.
  IoResult try_rename_new(const std::string& from, const std::string& to) const;
  void rename(const std::string& from, const std::string& to) const;
  /// True when the file was there and was removed.
  bool remove(const std::string& name) const;
  IoResult try_names(std::vector<std::string>& names) const;
  std::vector<std::string> names() const;
  IoResult try_names_beginning(const std::string& prefix, std::vector<std::string>& names) const;
  /// A remove() failed, or leave_names() was called: somebody has to look for what is left before the end.
  bool left_names() const noexcept { return state_->left_names; }
  /// Something of ours stays in the folder that should not.
  void leave_names() const noexcept { state_->left_names = true; }
  /// The names are durable: what was made, renamed and removed.
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

/// What a call throws that needs a name of ours where something lies that is no regular file.
MemoryError not_ours_error(const Folder& folder, const std::string& name, std::string_view action,
                           const FileStatus& status);

}  // namespace pageserver::storage
