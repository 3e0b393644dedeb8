#include "storage/engine/served_image.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "storage/file/file_size_limit.hpp"
#include "storage/file/file_system_warning.hpp"
#include "storage/file/home.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

/// Whether the path of the image's folder leads to another folder now, where the next opening would look. False when it
/// leads nowhere: the person who moved the folder knows where image and log are. Takes no memory.
bool is_folder_replaced(const Folder& folder) noexcept {
  FileSystem& files = folder.file_system();
  FileStatus held, found;
  // A relative path proves nothing: the program may have changed its working directory.
  if (!folder.path().starts_with('/')) return false;
  if (!retried([&] { return files.status(folder.descriptor(), held); }).ok()) return false;
  if (!retried([&] { return files.status_of(folder.path(), found); }).ok()) return false;
  return S_ISDIR(found.mode) && (found.inode != held.inode || found.device != held.device);
}

}  // namespace

bool is_elsewhere(const Folder& folder, const std::string& name, const FileStatus& held) noexcept {
  FileSystem& files = folder.file_system();
  FileStatus named;
  const IoResult found = retried([&] { return files.status_beneath(folder.descriptor(), name, named); });
  if (!found.ok()) return found.error == ENOENT;
  return named.inode != held.inode || named.device != held.device;
}

ServedImage::ServedImage(ImageFile image)
    : file_system_{image.file().file_system()},
      image_{std::move(image)},
      folder_{image_->folder()},
      shown_path_{image_->path()},
      name_{image_->name()},
      names_{folder_},
      file_size_limit_{file_size_limit()} {}

void ServedImage::map(std::uint64_t bytes_min) {
  if (mapped_reads_enabled() && is_good_to_map(folder_)) mapping_.emplace(image_->file(), bytes_min);
}

const std::byte* ServedImage::address() { return mapping_ ? mapping_->address(image_->size()) : nullptr; }

void ServedImage::close() noexcept {
  mapping_.reset();
  image_.reset();
  folder_.close();
}

// Tries the size on a file without a name, since a checkpoint would find out too late that the file system can't have
// it. Only for sizes that some file systems don't support. Beyond this machine each size is as good as another, and to
// remove such a file would be an operation for each of its objects.
void ServedImage::check_file_size(std::uint64_t pages, std::uint64_t size_bytes_max) {
  if (is_beyond_this_machine(folder_) && pages <= objects_file_bytes_max / page_size) return;
  constexpr std::uint64_t common_size_bytes = 2ull << 30;
  const std::uint64_t bytes = pages * page_size;
  if (bytes <= std::max(std::min(common_size_bytes, file_size_limit()), possible_size_bytes_.load())) return;
  const File probe = folder_.create_unnamed(sibling_name(name_, Sibling::spill, 0), "create probe file");
  // Tries twice the size first, so that a session which grows page by page does not make a file each time.
  const std::uint64_t ahead = std::min(2 * bytes, std::min(size_bytes_max, file_size_limit_));
  if (ahead > bytes && retried([&] { return file_system_.truncate(probe.descriptor(), ahead); }).ok()) {
    possible_size_bytes_ = ahead;
    return;
  }
  const IoResult result = retried([&] { return file_system_.truncate(probe.descriptor(), bytes); });
  // Linux says EINVAL, too, for a size that the file system can't have.
  if (!result.ok())
    throw file_error(file_system_, "grow to pages=" + std::to_string(pages) + " of", shown_path_,
                     result.error == EINVAL ? EFBIG : result.error);
  possible_size_bytes_ = bytes;
}

// The image may be longer than this process may make a file. A checkpoint would find out too late.
void ServedImage::check_file_limit(std::string_view action, std::uint64_t offset, std::uint64_t length) const {
  if (length == 0 || offset + length <= file_size_limit_) return;
  throw MemoryError{Errc::limit_exceeded, std::string{action} + " offset=" + std::to_string(offset) +
                                              " length=" + std::to_string(length) + " of " + quoted(shown_path_) +
                                              " ends past what a file of this process may have, ulimit -f=" +
                                              std::to_string(file_size_limit_) + " bytes; raise that limit"};
}

std::string ServedImage::misplaced(bool at_name_too) const {
  const std::uint64_t needed = image_->size();  // before the look: it only grows
  FileStatus held;
  const bool known = retried([&] { return file_system_.status(image_->file().descriptor(), held); }).ok();
  if (known && at_name_too && is_elsewhere(folder_, name_, held)) {
    const std::string change = image_->outside_change();
    return change.empty() ? "the path " + quoted(shown_path_) + " does not lead to the image any more" : change;
  }
  if (known && held.size_bytes < needed) return image_->outside_change();
  if (image_->is_link_changed())
    return "the path " + quoted(shown_path_) +
           " leads to another file now, by a symbolic link, where the next start would look: change the link back, or "
           "stop the store in order, which brings everything into the image where it is";
  if (!is_folder_replaced(folder_)) return {};
  return "the folder of " + quoted(shown_path_) +
         " was replaced by another one, where the next start would look for the image: put the folder back, or stop "
         "the store in order, which brings everything into the image where it is now";
}

// A link count of 0 alone proves nothing, since some file systems count no names: so the name is looked at as well.
void ServedImage::check_stays() const {
  const std::uint64_t needed = image_->size();
  FileStatus held;
  if (!retried([&] { return file_system_.status(image_->file().descriptor(), held); }).ok()) return;
  if (held.size_bytes < needed)
    throw MemoryError{Errc::provider_error, image_->outside_change() +
                                                " and cut off what the log does not have; put a copy in its place, "
                                                "and `pagectl recover` says what to do with the log"};
  if (held.links != 0 || !is_elsewhere(folder_, name_, held)) return;
  throw MemoryError{Errc::provider_error,
                    "the image " + quoted(shown_path_) +
                        " was removed or replaced while it was served, and what it held is gone with this process; put "
                        "a copy in its place, and `pagectl recover` says what to do with the log"};
}

}  // namespace pageserver::storage
