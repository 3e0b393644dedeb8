#include "client/pagectl/images/files.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <pageserver/error.hpp>

#include "base/random.hpp"
#include "client/pagectl/terminal/signals.hpp"
#include "storage/file/folder.hpp"
#include "storage/file/home.hpp"

namespace pageserver::pagectl {
namespace {

storage::FileSystem& files() { return storage::all_file_systems(); }

// `.NAME.pagectl-PROCESS-NUMBER.tmp`. A name has at most 255 bytes, so a long one is cut. It must never match `*.img`.
std::string temporary_prefix(const std::string& name) { return "." + name.substr(0, 200) + ".pagectl-"; }
constexpr std::string_view temporary_suffix = ".tmp";

std::string temporary_beside(const std::string& name) {
  return temporary_prefix(name) + std::to_string(::getpid()) + "-" + std::to_string(base::random_number() % 1'000'000) +
         std::string(temporary_suffix);
}

/// The process that made a file of this name for `name`; nothing when it is no name of ours.
std::optional<pid_t> maker_of(std::string_view temporary, const std::string& name) {
  const std::string prefix = temporary_prefix(name);
  if (!temporary.starts_with(prefix) || !temporary.ends_with(temporary_suffix)) return std::nullopt;
  temporary.remove_prefix(prefix.size());
  if (temporary.size() <= temporary_suffix.size()) return std::nullopt;
  temporary.remove_suffix(temporary_suffix.size());
  const std::size_t dash = temporary.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  pid_t process = 0;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(temporary.data(), temporary.data() + dash, process);
  const auto [last, fault] = std::from_chars(temporary.data() + dash + 1, temporary.data() + temporary.size(), number);
  const bool whole = error == std::errc() && end == temporary.data() + dash && fault == std::errc() &&
                     last == temporary.data() + temporary.size();
  return whole && process > 0 ? std::optional{process} : std::nullopt;
}

/// What killed copies to this target left. Whoever still writes has its file locked, or is about to and alive.
void remove_leftovers(const storage::Folder& folder, const std::string& name) {
  std::vector<std::string> names;
  if (!folder.try_names(names).ok()) return;
  for (const std::string& other : names) {
    const auto maker = maker_of(other, name);
    if (!maker || (*maker != ::getpid() && (::kill(*maker, 0) == 0 || errno != ESRCH))) continue;
    const auto opened = folder.try_open_file(other, O_RDONLY | O_NONBLOCK, 0);
    if (!opened.ok()) continue;
    const storage::File file(files(), static_cast<int>(opened.value), folder.path_of(other));
    if (!S_ISREG(file.status().mode) || !files().lock(file.descriptor(), storage::LockKind::exclusive).ok()) continue;
    static_cast<void>(files().remove_beneath(folder.descriptor(), other));
  }
}

}  // namespace

bool exists(const std::string& path) {
  if (storage::is_home_path(path)) {
    storage::FileStatus status;
    return storage::exists(files(), path, status);
  }
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string resolved(const std::string& path) {
  if (storage::is_home_path(path)) return path;
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

storage::SiblingFiles check_place(const std::string& action, const std::string& path) {
  const std::string real = resolved(path);
  storage::Folder folder;
  // Else the opening of the file says why.
  if (!storage::Folder::try_open(files(), storage::parent_folder(real), folder).ok()) return {};
  storage::check_image_place(folder, storage::file_name(real), action, path);
  return storage::list_visible_siblings(folder, storage::file_name(real));
}

std::optional<FileHints> FileHints::open(const std::string& path) {
  const auto opened = storage::retried([&] { return files().open(path, O_RDONLY | O_NONBLOCK, 0); });
  if (!opened.ok()) return std::nullopt;
  return FileHints(storage::File(files(), static_cast<int>(opened.value), path));
}

bool FileHints::is_at(const std::string& path) const {
  storage::FileStatus there;
  if (!files().status_of(resolved(path), there).ok()) return false;
  const auto ours = file_.status();
  return ours.device == there.device && ours.inode == there.inode;
}

FoundData FileHints::find_data(std::uint64_t offset, std::uint64_t length) const {
  FoundData found;
  found.ranges = file_.data_ranges(offset, offset + length, found_ranges_max, found.described_until);
  return found;
}

HomeStat FileHints::home() const {
  using namespace std::chrono_literals;
  HomeStat home;
  storage::FileHome found;
  home.name = files().home_of(file_.descriptor(), found).ok() ? found.name : "file";
  if (found.control != nullptr) home.health = found.control->health(1s);
  return home;
}

void FileHints::start_writeback(std::uint64_t offset, std::uint64_t length) const {
  files().start_writeback(file_.descriptor(), offset, length);
}

void FileHints::drop_from_memory(std::uint64_t offset, std::uint64_t length) const {
  files().drop_from_memory(file_.descriptor(), offset, length);
}

namespace {

/// `target`, links resolved, where a file may stand.
std::string checked_target(const std::string& action, const std::string& target) {
  std::string path = resolved(target);
  if (storage::is_home_path(path)) return path;
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw MemoryError(Errc::provider_error,
                      action + " " + storage::quoted(target) + ": it is a folder; name a file in it");
  const std::string folder = storage::parent_folder(path);
  if (!std::filesystem::exists(folder, error) && !error)
    throw MemoryError(Errc::not_found, action + " " + storage::quoted(target) + ": the folder " +
                                           storage::quoted(folder) + " does not exist; create it first: mkdir -p");
  return path;
}

}  // namespace

ReplacementFile::ReplacementFile(const std::string& action, const std::string& target, bool overwrite)
    : target_(checked_target(action, target)),
      folder_(storage::Folder::open(files(), storage::parent_folder(target_), "create in")),
      name_(storage::file_name(target_)),
      temporary_(temporary_beside(name_)),
      path_(folder_.path_of(temporary_)),
      action_(action),
      overwrite_(overwrite) {
  check_target();
  remove_leftovers(folder_, name_);
  remove_on_signal(folder_.descriptor(), temporary_);
  try {
    written_ = folder_.open_file(temporary_, O_RDWR | O_CREAT | O_EXCL, mode_, "create");
  } catch (...) {
    keep_on_signal(folder_.descriptor(), temporary_);
    throw;
  }
}

ReplacementFile::~ReplacementFile() {
  if (replaced_) return;
  try {
    if (is_ours()) folder_.remove(temporary_);
  } catch (const MemoryError&) {
    // A temporary file more; why the copy failed has been said.
  }
  keep_on_signal(folder_.descriptor(), temporary_);
}

void ReplacementFile::check_target() {
  const storage::SiblingFiles siblings = check_place(action_, target_);
  storage::FileStatus status;
  if (!folder_.has(name_, status)) return storage::check_room_for_siblings(folder_, name_, action_, target_);
  const std::string name = storage::quoted(target_);
  if (!S_ISREG(status.mode)) {
    throw MemoryError(Errc::provider_error, action_ + " " + name + ": it is not a regular file; name another");
  }
  if (!overwrite_) {
    throw MemoryError(Errc::already_exists, action_ + " " + name + ": a file of " + std::to_string(status.size_bytes) +
                                                " bytes exists there; " + remedy());
  }
  mode_ = status.mode & 0777;
  old_ = folder_.open_file(name_, O_RDONLY, 0, "open");
  if (!files().lock(old_.descriptor(), storage::LockKind::exclusive).ok()) {
    throw MemoryError(Errc::busy, "replace " + name + ": the file is in use; stop what has it open");
  }
  if (!siblings.log.empty()) {
    throw MemoryError(Errc::provider_error, "replace " + name + ": the log " + storage::quoted(siblings.log.front()) +
                                                " beside it belongs to it; run `pagectl recover` first, or remove "
                                                "both");
  }
}

/// The name beside the target is still that of the file that was made.
bool ReplacementFile::is_ours() const {
  storage::FileStatus named;
  if (!folder_.has(temporary_, named)) return false;
  const auto made = written_.status();
  return named.device == made.device && named.inode == made.inode;
}

void ReplacementFile::replace_target() {
  // A program that writes has its file locked. A file that can be locked here was not written.
  if (!is_ours() || files().lock(written_.descriptor(), storage::LockKind::shared).ok()) {
    throw MemoryError(Errc::provider_error,
                      "write " + storage::quoted(target_) + ": the folder or the file " + storage::quoted(path_) +
                          " was replaced meanwhile, and what was written is elsewhere; copy once more");
  }
  // Since the look at the beginning someone may have made the file, or put another one in its place, and serve it.
  if (old_.is_open()) {
    storage::FileStatus there;
    const auto looked_at = old_.status();
    if (!folder_.has(name_, there) || there.device != looked_at.device || there.inode != looked_at.inode)
      throw MemoryError(Errc::busy, action_ + " " + storage::quoted(target_) +
                                        ": the file was replaced or removed meanwhile; look at it, and copy once more");
    folder_.rename(temporary_, name_);
  } else {
    const storage::IoResult renamed = folder_.try_rename_new(temporary_, name_);
    if (renamed.error == EEXIST)
      throw MemoryError(Errc::already_exists,
                        action_ + " " + storage::quoted(target_) + ": a file appeared there meanwhile; " + remedy());
    if (!renamed.ok()) throw storage::file_error(files(), "rename to", target_, renamed.error);
  }
  replaced_ = true;
  keep_on_signal(folder_.descriptor(), temporary_);
  folder_.sync();
}

}  // namespace pageserver::pagectl
