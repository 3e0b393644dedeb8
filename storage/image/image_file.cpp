#include "storage/image/image_file.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include "base/bounds.hpp"

namespace pageserver::storage {
namespace {

// Linux keeps a write within one block of the page cache whole; a longer one can stop at a block's border.
constexpr std::uint64_t block_size = 4096;
// What a signed 64-bit file offset reaches, in whole pages.
constexpr std::uint64_t pages_max = static_cast<std::uint64_t>(INT64_MAX) / page_size;

bool within_one_block(std::uint64_t offset, std::uint64_t length) {
  return length == 0 || offset / block_size == (offset + length - 1) / block_size;
}

std::string range_text(std::string_view action, std::uint64_t offset, std::uint64_t length) {
  return std::string{action} + " offset=" + std::to_string(offset) + " length=" + std::to_string(length);
}

}  // namespace

ImageFile::ImageFile(File file, FileLock lock, Folder folder, std::string given_path, std::string link, bool read_only,
                     bool created, std::uint64_t size)
    : file_{std::move(file)},
      lock_{std::move(lock)},
      folder_{std::move(folder)},
      name_{file_name(file_.path())},
      given_path_{std::move(given_path)},
      link_{std::move(link)},
      read_only_{read_only},
      created_{created},
      size_{size} {}

ImageFile::ImageFile(ImageFile&& other) noexcept
    : file_{std::move(other.file_)},
      lock_{std::move(other.lock_)},
      folder_{std::move(other.folder_)},
      name_{std::move(other.name_)},
      given_path_{std::move(other.given_path_)},
      link_{std::move(other.link_)},
      read_only_{other.read_only_},
      created_{other.created_},
      entry_durable_{other.entry_durable_.load()},
      size_{other.size_.exchange(0)},
      backed_{std::move(other.backed_)},
      reservable_{other.reservable_},
      torn_{std::move(other.torn_)},
      sync_error_{std::move(other.sync_error_)} {}

ImageFile::~ImageFile() = default;

FileHome ImageFile::home() const {
  FileHome home;
  const auto found = retried([&] { return file_.file_system().home_of(file_.descriptor(), home); });
  return found.ok() ? home : FileHome{};
}

void ImageFile::close() {
  lock_.release();
  file_.close_and_tell();
}

bool ImageFile::BackedPages::has(std::uint64_t page) const {
  const auto group = groups_.find(page - page % group_pages);
  return group != groups_.end() && group->second[page % group_pages];
}

void ImageFile::BackedPages::add(std::uint64_t first, std::uint64_t end) {
  for (std::uint64_t page = first; page < end; ++page) {
    auto& group = groups_[page - page % group_pages];
    if (group.empty()) group.resize(group_pages);
    group[page % group_pages] = true;
  }
}

void ImageFile::BackedPages::remove(std::uint64_t first, std::uint64_t end) {
  for (auto group = groups_.lower_bound(first - first % group_pages); group != groups_.end() && group->first < end;
       ++group)
    for (std::uint64_t page = std::max(first, group->first); page < std::min(end, group->first + group_pages); ++page)
      group->second[page - group->first] = false;
}

void ImageFile::refuse_if_torn() const {
  if (torn_) throw *torn_;
}

void ImageFile::refuse_if_read_only(std::string_view action) const {
  if (!read_only_) return;
  throw MemoryError{Errc::read_only, std::string{action} + " " + quoted(given_path_) +
                                         ": it was opened for reading; open it with access=write"};
}

void ImageFile::check_size(std::string_view action) const {
  const auto found = file_.status().size_bytes;
  if (found == size()) return;
  throw MemoryError{Errc::provider_error, std::string{action} + " " + quoted(given_path_) +
                                              ": the file has size=" + std::to_string(found) +
                                              " and should have size=" + std::to_string(size()) +
                                              ": someone else changed it meanwhile; stop them, then open it again"};
}

bool ImageFile::is_link_changed() const noexcept {
  if (link_.empty()) return false;
  try {
    FileSystem& files = file_.file_system();
    FileStatus held, found;
    std::string leads_to;
    if (!retried([&] { return files.real_path(link_, leads_to); }).ok()) return false;
    if (!retried([&] { return files.status_of(leads_to, found); }).ok()) return false;
    if (!retried([&] { return files.status(file_.descriptor(), held); }).ok()) return false;
    return S_ISREG(found.mode) && (found.inode != held.inode || found.device != held.device);
  } catch (const std::bad_alloc&) {
    return false;
  }
}

std::string ImageFile::outside_change() const {
  FileStatus named, held;
  if (!file_.file_system().status(file_.descriptor(), held).ok()) return {};
  if (held.size_bytes != size()) {
    return "the file " + quoted(given_path_) + " has size=" + std::to_string(held.size_bytes) +
           " and should have size=" + std::to_string(size()) + ": someone else changed it";
  }
  if (held.links > 1) {
    return "the file " + quoted(given_path_) + " has " + std::to_string(held.links) +
           " names (hard links) now; remove the others: it is not opened with them the next time";
  }
  const auto is_held = [&] { return named.inode == held.inode && named.device == held.device; };
  if (file_.file_system().status_of(file_.path(), named).ok()) {
    if (is_held()) return {};
    return "the path " + quoted(given_path_) + " names another file now; the store still uses the one it opened";
  }
  if (file_.file_system().status_beneath(folder_.descriptor(), name_, named).ok() && is_held()) {
    return "the folder of " + quoted(given_path_) +
           " was moved or renamed; the store goes on in it, with its log beside the image";
  }
  // Last, since some file systems count no names: a link count of 0 alone proves nothing.
  if (held.links == 0) return "the file " + quoted(given_path_) + " was removed; its bytes go when the store closes";
  return "the file " + quoted(given_path_) +
         " was renamed; its log stays under the old name: rename it back before the store closes";
}

std::uint64_t ImageFile::grow(std::uint64_t new_pages, std::uint64_t size_bytes_max) {
  refuse_if_read_only("grow");
  refuse_if_torn();
  const auto previous = pages();
  if (new_pages == 0) return previous;
  const auto asked = "grow pages=" + std::to_string(previous) + " new_pages=" + std::to_string(new_pages);
  if (new_pages > pages_max - previous) {
    throw MemoryError{Errc::limit_exceeded,
                      asked + " exceeds the " + std::to_string(pages_max) + " pages that a file offset reaches"};
  }
  const auto new_size = (previous + new_pages) * page_size;
  if (new_size > size_bytes_max) {
    throw MemoryError{Errc::limit_exceeded, asked + " exceeds size_bytes_max=" + std::to_string(size_bytes_max) +
                                                "; raise that limit or ask for less"};
  }
  check_size(asked + " of");
  const auto result = retried([&] { return file_.file_system().truncate(file_.descriptor(), new_size); });
  // Linux says EINVAL, too, for a size that the file system can't have.
  if (!result.ok()) file_.fail(asked + " of", result.error == EINVAL ? EFBIG : result.error);
  size_.store(new_size, std::memory_order_release);
  return previous;
}

void ImageFile::read(std::uint64_t offset, std::span<std::byte> buffer) const {
  base::check_bounds("read", offset, buffer.size(), size());
  refuse_if_torn();
  const auto done = file_.read_up_to(offset, buffer);
  if (done == buffer.size()) return;
  throw MemoryError{Errc::provider_error, range_text("read", offset, buffer.size()) + " of " + quoted(given_path_) +
                                              ": the file ends at byte " + std::to_string(offset + done) +
                                              " and should have size=" + std::to_string(size()) +
                                              ": someone else truncated it; restore it from a copy"};
}

// A full disk must be noticed before the first byte changes. So write() reserves the blocks of a page before the first
// write to it that could stop in the middle.
void ImageFile::reserve(std::uint64_t offset, std::uint64_t length) {
  if (!reservable_ || within_one_block(offset, length)) return;
  const auto first = offset / page_size;
  const auto last = (offset + length - 1) / page_size;
  for (auto page = first; page <= last; ++page) {
    if (backed_.has(page)) continue;
    auto end = page + 1;
    while (end <= last && !backed_.has(end)) ++end;
    reservable_ = file_.reserve(page * page_size, (end - page) * page_size);
    if (!reservable_) return;
    backed_.add(page, end);
    page = end - 1;
  }
}

void ImageFile::tear(const MemoryError& error) {
  torn_.emplace(error.errc(), std::string{error.what()} +
                                  "; a part of the range was changed before, so this image refuses further use here: "
                                  "open it again and write the range once more");
  throw *torn_;
}

void ImageFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  refuse_if_read_only("write to");
  base::check_bounds("write", offset, data.size(), size());
  refuse_if_torn();
  if (data.empty()) return;
  const auto asked = range_text("write", offset, data.size()) + " to";
  // Somebody may have truncated the file: a write past its end would make it long again, with zeros where data was.
  check_size(asked);
  reserve(offset, data.size());
  std::size_t done = 0;
  const auto result = write_fully(file_.file_system(), file_.descriptor(), offset, data, done);
  if (result.ok()) return;
  auto error = file_error(file_.file_system(), asked, given_path_, result.error);
  if (done != 0) tear(error);
  throw error;
}

void ImageFile::zero(std::uint64_t offset, std::uint64_t length) {
  refuse_if_read_only("zero in");
  base::check_bounds("zero", offset, length, size());
  refuse_if_torn();
  if (length == 0) return;
  const auto asked = range_text("zero", offset, length) + " of";
  check_size(asked);
  // From here on these pages may have lost their blocks, also when the call fails.
  backed_.remove(offset / page_size, (offset + length - 1) / page_size + 1);
  const auto result = retried([&] { return file_.file_system().punch_hole(file_.descriptor(), offset, length); });
  if (result.ok()) return;
  if (is_unsupported(result.error)) return write_zeros(offset, length);
  // Nobody knows how much of the range is a hole now.
  tear(file_error(file_.file_system(), asked, given_path_, result.error));
}

void ImageFile::write_zeros(std::uint64_t offset, std::uint64_t length) {
  static constexpr std::array<std::byte, page_size> zeros{};
  reserve(offset, length);
  for (std::uint64_t done = 0; done < length;) {
    const auto step = std::min<std::uint64_t>(zeros.size(), length - done);
    std::size_t written = 0;
    const auto result = write_fully(file_.file_system(), file_.descriptor(), offset + done,
                                    std::span{zeros}.first(static_cast<std::size_t>(step)), written);
    done += written;
    if (result.ok()) continue;
    auto error = file_error(file_.file_system(), range_text("zero", offset, length) + " of", given_path_, result.error);
    if (done != 0) tear(error);
    throw error;
  }
}

std::vector<ByteRange> ImageFile::data_ranges(std::uint64_t offset, std::uint64_t length, std::size_t ranges_max,
                                              std::uint64_t& described_until) const {
  base::check_bounds("data_ranges", offset, length, size());
  refuse_if_torn();
  return file_.data_ranges(offset, offset + length, ranges_max, described_until);
}

void ImageFile::sync() {
  if (read_only_) return;
  if (sync_error_) throw *sync_error_;
  try {
    file_.sync_data();
    if (!entry_durable_) {
      // A folder that may be entered but not read can't be synced. For a file that was found there, fsync(2) of the
      // file is the most that can be done for its entry.
      if (created_ || !folder_.unreadable())
        folder_.sync();
      else
        file_.sync();
      entry_durable_ = true;
    }
  } catch (const MemoryError& error) {
    sync_error_.emplace(error.errc(), std::string{error.what()} +
                                          "; what was written since the last flush may be lost, and no later flush of "
                                          "this open image can be trusted: open it again and compare with a copy");
    throw *sync_error_;
  }
}

}  // namespace pageserver::storage
