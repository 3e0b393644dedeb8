#include "storage/file/file_io.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "storage/file/folder.hpp"

namespace pageserver::storage {
namespace {

static_assert(EINTR == 4, "retried() in file_io.hpp spells EINTR out to spare its includers <cerrno>");

std::string numbers(std::string_view action, std::uint64_t offset, std::uint64_t length) {
  return std::string{action} + " offset=" + std::to_string(offset) + " length=" + std::to_string(length) + " of";
}

}  // namespace

IoResult read_fully(FileSystem& file_system, int file, std::uint64_t offset, std::span<std::byte> buffer,
                    std::size_t& done, const std::optional<FileSystem::Moment>& deadline) {
  done = 0;
  while (done < buffer.size()) {
    const auto result = retried([&] {
      const std::span<std::byte> rest = buffer.subspan(done);
      return deadline ? file_system.read_until(file, offset + done, rest, *deadline)
                      : file_system.read_at(file, offset + done, rest);
    });
    if (!result.ok()) return result;
    if (result.value == 0) break;
    done += static_cast<std::size_t>(result.value);
  }
  return {static_cast<std::int64_t>(done), 0};
}

IoResult write_fully(FileSystem& file_system, int file, std::uint64_t offset, std::span<const std::byte> data,
                     std::size_t& done) {
  done = 0;
  while (done < data.size()) {
    const auto result = retried([&] { return file_system.write_at(file, offset + done, data.subspan(done)); });
    if (!result.ok()) return result;
    // No regular file does this. An error is better than a loop without end.
    if (result.value == 0) return {-1, EIO};
    done += static_cast<std::size_t>(result.value);
  }
  return {static_cast<std::int64_t>(done), 0};
}

File::File(FileSystem& file_system, int descriptor, std::string path)
    : file_system_{&file_system}, descriptor_{descriptor}, path_{std::move(path)} {}

File::File(File&& other, std::string path) noexcept : File{std::move(other)} { path_ = std::move(path); }

File::File(File&& other) noexcept
    : file_system_{other.file_system_},
      descriptor_{std::exchange(other.descriptor_, -1)},
      path_{std::move(other.path_)} {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    close();
    file_system_ = other.file_system_;
    descriptor_ = std::exchange(other.descriptor_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() { close(); }

File File::open(FileSystem& file_system, const std::string& path, int flags, std::uint32_t mode,
                std::string_view action) {
  std::string kept{path};  // copied first: without memory for it the open descriptor would be lost
  const auto opened = retried([&] { return file_system.open(path, flags, mode); });
  if (!opened.ok()) throw file_error(file_system, action, path, opened.error);
  return {file_system, static_cast<int>(opened.value), std::move(kept)};
}

void File::close() noexcept {
  if (descriptor_ >= 0) file_system_->close(std::exchange(descriptor_, -1));
}

void File::close_and_tell() {
  if (descriptor_ < 0) return;
  const int error = file_system_->close(std::exchange(descriptor_, -1));
  // Interrupted, it is closed all the same.
  if (error != 0 && error != EINTR) fail("close", error);
}

void File::fail(std::string_view action, int error) const { throw file_error(*file_system_, action, path_, error); }

void File::read(std::uint64_t offset, std::span<std::byte> buffer, const Deadline& deadline) const {
  const auto done = read_up_to(offset, buffer, deadline);
  if (done == buffer.size()) return;
  throw MemoryError{Errc::provider_error, numbers("read", offset, buffer.size()) + " " + quoted(path_) +
                                              ": the file ends at byte " + std::to_string(offset + done) +
                                              "; it was cut from outside, restore it from a copy"};
}

std::size_t File::read_up_to(std::uint64_t offset, std::span<std::byte> buffer, const Deadline& deadline) const {
  std::size_t done = 0;
  const auto result = read_fully(*file_system_, descriptor_, offset, buffer, done, deadline);
  if (result.error == ETIMEDOUT && deadline)
    throw MemoryError{Errc::timed_out, numbers("read", offset, buffer.size()) + " " + quoted(path_) +
                                           ": the cluster has not answered in time; see to its OSDs, and open a new "
                                           "session"};
  if (!result.ok()) fail(numbers("read", offset, buffer.size()), result.error);
  return done;
}

void File::write(std::uint64_t offset, std::span<const std::byte> data) const {
  std::size_t done = 0;
  const auto result = write_fully(*file_system_, descriptor_, offset, data, done);
  if (!result.ok()) fail(numbers("write", offset, data.size()), result.error);
}

void File::write_parts(std::uint64_t offset, std::span<const std::span<const std::byte>> parts) const {
  const auto result = retried([&] { return file_system_->write_parts_at(descriptor_, offset, parts); });
  std::uint64_t length = 0;
  for (const auto& part : parts) length += part.size();
  if (!result.ok()) fail(numbers("write", offset, length), result.error);
  // A call may write less than all of it: the rest is written part by part.
  auto done = static_cast<std::uint64_t>(result.value);
  for (const auto& part : parts) {
    const std::uint64_t skipped = std::min<std::uint64_t>(done, part.size());
    if (skipped < part.size()) write(offset + skipped, part.subspan(skipped));
    done -= skipped;
    offset += part.size();
  }
}

void File::truncate(std::uint64_t size_bytes) const {
  const auto result = retried([&] { return file_system_->truncate(descriptor_, size_bytes); });
  if (!result.ok()) fail("set size=" + std::to_string(size_bytes) + " of", result.error);
}

bool File::reserve(std::uint64_t offset, std::uint64_t length) const {
  const auto result = retried([&] { return file_system_->reserve(descriptor_, offset, length); });
  if (result.ok()) return true;
  if (is_unsupported(result.error)) return false;
  fail(numbers("reserve", offset, length), result.error);
}

bool File::punch_hole(std::uint64_t offset, std::uint64_t length) const {
  const auto result = retried([&] { return file_system_->punch_hole(descriptor_, offset, length); });
  if (result.ok()) return true;
  if (is_unsupported(result.error)) return false;
  fail(numbers("zero", offset, length), result.error);
}

std::uint64_t File::next_data(std::uint64_t offset, std::uint64_t end) const {
  if (offset >= end) return end;
  const IoResult data = retried([&] { return file_system_->seek_data(descriptor_, offset); });
  if (data.ok()) return std::clamp(static_cast<std::uint64_t>(data.value), offset, end);
  return data.error == ENXIO ? end : offset;
}

std::vector<ByteRange> File::data_ranges(std::uint64_t offset, std::uint64_t end, std::size_t ranges_max,
                                         std::uint64_t& described_until) const {
  std::vector<ByteRange> ranges;
  described_until = end;
  for (offset = next_data(offset, end); offset < end; offset = next_data(offset, end)) {
    const IoResult hole = retried([&] { return file_system_->seek_hole(descriptor_, offset); });
    // Not behind `offset` where that became a hole just now, or the file system knows of no holes.
    const std::uint64_t found = hole.ok() ? static_cast<std::uint64_t>(hole.value) : end;
    const std::uint64_t stop = found <= offset ? end : std::min(found, end);
    ranges.push_back({offset, stop - offset});
    offset = stop;
    if (ranges.size() < ranges_max) continue;
    described_until = stop;
    break;
  }
  return ranges;
}

void File::sync_data() const {
  const auto result = retried([&] { return file_system_->sync_data(descriptor_); });
  if (!result.ok()) fail("sync", result.error);
}

void File::sync() const {
  const auto result = retried([&] { return file_system_->sync(descriptor_); });
  if (!result.ok()) fail("sync", result.error);
}

FileStatus File::status() const {
  FileStatus status;
  const auto result = retried([&] { return file_system_->status(descriptor_, status); });
  if (!result.ok()) fail("look at", result.error);
  return status;
}

bool exists(FileSystem& file_system, const std::string& path, FileStatus& status) {
  const auto result = retried([&] { return file_system.status_of(path, status); });
  if (result.ok()) return true;
  if (result.error == ENOENT) return false;
  throw file_error(file_system, "look at", path, result.error);
}

void sync_parent_folder(FileSystem& file_system, const std::string& path) {
  Folder::open(file_system, parent_folder(path)).sync();
}

void rename_file(FileSystem& file_system, const std::string& from, const std::string& to) {
  if (parent_folder(from) != parent_folder(to))
    throw file_error(file_system, "rename " + quoted(from) + " to", to, EXDEV);
  const std::string action = "rename " + quoted(from) + " to";
  const Folder folder = Folder::open(file_system, parent_folder(from), action);
  const IoResult result = folder.try_rename(file_name(from), file_name(to));
  if (!result.ok()) throw file_error(file_system, action, to, result.error);
}

bool remove_file(FileSystem& file_system, const std::string& path) {
  Folder folder;
  const IoResult opened = Folder::try_open(file_system, parent_folder(path), folder);
  if (opened.ok()) return folder.remove(file_name(path));
  if (opened.error == ENOENT) return false;
  throw file_error(file_system, "remove", path, opened.error);
}

std::vector<std::string> list_folder(FileSystem& file_system, const std::string& folder) {
  return Folder::open(file_system, folder, "list the folder").names();
}

std::string text_of_file(FileSystem& file_system, const std::string& path) {
  std::string kept{path};
  const auto opened = retried([&] { return file_system.open(path, O_RDONLY, 0); });
  if (!opened.ok()) return {};
  const File file{file_system, static_cast<int>(opened.value), std::move(kept)};
  std::string text;
  std::array<std::byte, 4096> buffer{};
  for (;;) {
    std::size_t done = 0;
    if (!read_fully(file_system, file.descriptor(), text.size(), buffer, done).ok() || done == 0) return text;
    text.append(reinterpret_cast<const char*>(buffer.data()), done);
  }
}

}  // namespace pageserver::storage
