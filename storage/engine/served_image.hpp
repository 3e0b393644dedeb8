// The image file of an open store: where it lies, what this process may make of it, and whether it still is where the
// next opening looks for it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/engine/names_look.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/image/image_file.hpp"

namespace pageserver::storage {

/// Threads: any for the const calls and check_file_size(); address() on the thread that grows the file; map() and
/// close() alone.
class ServedImage {
public:
  explicit ServedImage(ImageFile image);

  /// Until close(): the file itself, with what it promises.
  ImageFile* operator->() noexcept { return &*image_; }
  const ImageFile* operator->() const noexcept { return &*image_; }

  FileSystem& file_system() const noexcept { return file_system_; }
  /// In which all else of the store is; closed with the image.
  const Folder& folder() const noexcept { return folder_; }
  /// In `folder()`; no symbolic link.
  const std::string& name() const noexcept { return name_; }
  /// As it was given, for texts.
  const std::string& shown_path() const noexcept { return shown_path_; }

  /// Maps the file for reads from now on, where that is possible. The first mapping takes at least `bytes_min`
  /// addresses.
  void map(std::uint64_t bytes_min);
  /// Where byte 0 of the file is mapped, with all of it behind that; null: it is not.
  const std::byte* address();
  /// Unlocks it, and closes file, mapping and folder.
  void close() noexcept;

  /// Throws limit_exceeded when the file system, or this process, can't have a file of so many pages; of an image that
  /// may have `size_bytes_max`.
  void check_file_size(std::uint64_t pages, std::uint64_t size_bytes_max);
  /// Throws limit_exceeded when this process may not write there, into a file that is larger than its limit.
  void check_file_limit(std::string_view action, std::uint64_t offset, std::uint64_t length) const;

  /// Of image and log in folder(): whether they may have been changed.
  NamesLook& names() noexcept { return names_; }
  /// Empty, or why the next opening would not find this file, and what can be done. Without `at_name_too` its name in
  /// the folder is taken to lead to it.
  std::string misplaced(bool at_name_too = true) const;
  /// Throws when the image has no name at all any more, or was cut by somebody: a log must not be removed for it.
  void check_stays() const;

private:
  FileSystem& file_system_;
  std::optional<ImageFile> image_;  // nothing once closed
  Folder folder_;
  const std::string shown_path_;
  const std::string name_;
  NamesLook names_;
  const std::uint64_t file_size_limit_;
  std::atomic<std::uint64_t> possible_size_bytes_{0};  // the file system can have a file of this size
  std::optional<MappedFile> mapping_;
};

/// Whether the name in `folder` leads elsewhere than to the file with this status now. Where nothing can be learned, it
/// does not.
bool is_elsewhere(const Folder& folder, const std::string& name, const FileStatus& held) noexcept;

}  // namespace pageserver::storage
