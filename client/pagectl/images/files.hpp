// What pagectl does with files beyond the image in them: holes, replacing one whole, what lies beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pageserver/session.hpp>

#include "client/pagectl/images/found_data.hpp"
#include "storage/file/file_io.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::pagectl {

/// Whether the path names something; a symbolic link is followed.
bool exists(const std::string& path);
/// The path with symbolic links resolved where it names something; else unchanged.
std::string resolved(const std::string& path);

/// What a store left beside an image, or where one is to be made; throws what storage::check_image_place() does.
storage::SiblingFiles check_place(const std::string& action, const std::string& path);

/// What the kernel knows of a file beyond its bytes, where it has data and where only holes, and what it may be told of
/// it. Nothing here changes a byte. Through a descriptor of its own, so it is opened before the provider, and is_at()
/// afterwards tells whether both have the same file.
class FileHints {
public:
  /// Nothing where the file can't be opened for reading: the provider explains why.
  static std::optional<FileHints> open(const std::string& path);
  bool is_at(const std::string& path) const;
  /// See Image::find_data().
  FoundData find_data(std::uint64_t offset, std::uint64_t length) const;
  /// Where it lies; nobody owns it there but whoever looks.
  HomeStat home() const;
  /// Lets the disk begin with what was written there, so that a later sync has less to wait for.
  void start_writeback(std::uint64_t offset, std::uint64_t length) const;
  /// What of it is on disk by now need not stay in memory.
  void drop_from_memory(std::uint64_t offset, std::uint64_t length) const;

private:
  explicit FileHints(storage::File file) : file_(std::move(file)) {}
  storage::File file_;
};

/// A file that appears under its name only when it is whole: written beside it under a temporary name, then renamed.
/// Until then it is removed: by the destructor, and when a signal ends the process. All of that is done in the
/// folder that was opened first: one that takes its place meanwhile, or a link, leads nowhere.
class ReplacementFile {
public:
  /// Refuses an existing target unless `overwrite`, and always one that is in use, is no regular file, or has the log
  /// of a store beside it. `action` is for the text: "create", or "write" where --force overwrites.
  ReplacementFile(const std::string& action, const std::string& target, bool overwrite);
  ReplacementFile(const ReplacementFile&) = delete;
  ReplacementFile& operator=(const ReplacementFile&) = delete;
  ~ReplacementFile();

  /// The file to write, empty at first.
  const std::string& path() const { return path_; }
  /// To be called when the content is synced, while the writer still has the file open and locked: renames it and
  /// syncs the folder. Refused when another file was written instead, since someone replaced the folder.
  void replace_target();

private:
  void check_target();
  const char* remedy() const { return action_ == "write" ? "--force replaces it" : "name another"; }

  bool is_ours() const;

  std::string target_;
  storage::Folder folder_;  // of the target
  std::string name_;        // of the target
  std::string temporary_;   // the name beside it
  std::string path_;        // of that
  std::string action_;
  bool overwrite_;
  bool replaced_ = false;
  std::uint32_t mode_ = 0666;
  storage::File old_;      // locked for as long as we work, so that nobody starts to use it
  storage::File written_;  // the file to write, as it was made
};

}  // namespace pageserver::pagectl
