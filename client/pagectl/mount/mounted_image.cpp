#include "client/pagectl/mount/mounted_image.hpp"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <type_traits>
#include <utility>

#include <pageserver/error.hpp>
#include <pageserver/remote_provider.hpp>

#include "client/pagectl/mount/file_errors.hpp"

namespace pageserver::pagectl {
namespace {

/// Nothing goes well after these.
bool is_last(Errc code) {
  return code == Errc::connection_lost || code == Errc::timed_out || code == Errc::protocol_error ||
         code == Errc::lease_lost || code == Errc::snapshot_too_old;
}

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

/// At most as much as a file can have.
std::uint64_t end_of(std::uint64_t offset, std::uint64_t length) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (offset > most || length > most - offset) throw FileRefusal(EFBIG);
  return offset + length;
}

std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + page_size - 1) / page_size * page_size; }

constexpr std::uint64_t looked_at_once = 1ull << 30;

}  // namespace

MountedImage::MountedImage(std::unique_ptr<MemoryProvider> provider, Kind kind, Report report)
    : provider_(std::move(provider)),
      session_(dynamic_cast<Session*>(provider_.get())),
      kind_(kind),
      report_(std::move(report)),
      size_bytes_(provider_->size()) {
  const Lock lock(state_);
  changed_ = now();
  if (session_ != nullptr) seen_ = session_->version();
}

template <class Work>
auto MountedImage::guarded(Work work) {
  check_alive();
  try {
    if (session_ != nullptr) return work();
    const Lock lock(calls_);
    return work();
  } catch (const MemoryError& error) {
    if (is_last(error.errc()))
      end(error.what());
    else if (error.errc() == Errc::provider_error || error.errc() == Errc::damaged || error.errc() == Errc::no_space)
      report_(error.what());
    throw;
  }
}

void MountedImage::end(const std::string& why) {
  {
    const Lock lock(state_);
    if (!why_lost_.empty()) return;
    why_lost_ = why;
    is_lost_ = true;
  }
  report_(why + "; every call fails from now on");
}

void MountedImage::check_alive() {
  if (is_lost_) throw FileRefusal(EIO);
}

std::optional<std::string> MountedImage::lost() {
  if (!is_lost_ && session_ != nullptr) {
    if (const auto error = session_->lost()) end(error->what());
  }
  if (!is_lost_) return std::nullopt;
  const Lock lock(state_);
  return why_lost_;
}

int MountedImage::socket() const {
  const auto* const remote = dynamic_cast<const RemoteProvider*>(provider_.get());
  return remote == nullptr ? -1 : remote->socket();
}

MountedImage::Facts MountedImage::facts() {
  check_alive();
  if (kind_ != Kind::live) {
    const Lock lock(state_);
    return {size_bytes_, changed_};
  }
  const Refreshed found = guarded([&] { return session_->refresh(); });
  const Lock lock(state_);
  size_bytes_ = std::max<std::uint64_t>(size_bytes_, found.pages * page_size);
  if (found.version != seen_) {
    seen_ = found.version;
    changed_ = now();
  }
  return {size_bytes_, changed_};
}

void MountedImage::set_changed(timespec changed) {
  const Lock lock(state_);
  changed_ = changed;
}

void MountedImage::touch() {
  ++changes_;
  const Lock lock(state_);
  changed_ = now();
}

std::uint64_t MountedImage::size_now() {
  if (kind_ == Kind::live)
    size_bytes_ = std::max<std::uint64_t>(size_bytes_, guarded([&] { return provider_->size(); }));
  return size_bytes_;
}

std::size_t MountedImage::read(std::uint64_t offset, std::span<std::byte> buffer) {
  std::uint64_t size = size_bytes_;
  if (offset >= size || buffer.size() > size - offset) {
    size = size_now();
    if (offset >= size) {
      check_alive();
      return 0;
    }
    buffer = buffer.first(std::min<std::uint64_t>(buffer.size(), size - offset));
  }
  guarded([&] { provider_->read(offset, buffer); });
  return buffer.size();
}

bool MountedImage::grow_to(std::uint64_t size_bytes) {
  const Lock lock(growth_);
  const std::uint64_t size = size_bytes_;
  if (size_bytes <= size) return false;
  touch();
  guarded([&] { return provider_->grow((size_bytes - size) / page_size); });
  size_bytes_ = size_bytes;
  return true;
}

void MountedImage::write(std::uint64_t offset, std::span<const std::byte> data, bool append) {
  check_alive();
  const std::uint64_t end = end_of(offset, data.size());
  if (append && (offset % page_size != 0 || end % page_size != 0)) throw FileRefusal(EINVAL);
  if (end > size_bytes_) grow_to(whole_pages(end));
  // Before and after: a flush that goes by meanwhile does not count for this one.
  touch();
  guarded([&] { provider_->write(offset, data); });
  ++changes_;
}

bool MountedImage::resize(std::uint64_t size_bytes) {
  check_alive();
  if (size_bytes < size_bytes_) throw FileRefusal(EPERM);
  if (size_bytes % page_size != 0) throw FileRefusal(EINVAL);
  if (size_bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) throw FileRefusal(EFBIG);
  return grow_to(size_bytes);
}

void MountedImage::zero(std::uint64_t offset, std::uint64_t length) {
  touch();
  if (session_ != nullptr) {
    guarded([&] { session_->zero(offset, length); });
  } else {
    static constexpr std::array<std::byte, page_size> zeros{};
    while (length > 0) {
      const auto part = std::min<std::uint64_t>(length, zeros.size());
      guarded([&] { provider_->write(offset, std::span(zeros).first(part)); });
      offset += part;
      length -= part;
    }
  }
  ++changes_;
}

void MountedImage::allocate(int mode, std::uint64_t offset, std::uint64_t length) {
  check_alive();
  const bool zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  if ((mode & ~(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)) != 0) throw FileRefusal(EOPNOTSUPP);
  const std::uint64_t end = end_of(offset, length);
  if (end > size_bytes_ && !keeps_size) resize(end);
  // Room behind the end can't be set aside.
  if (end > size_bytes_ && !zeroes) throw FileRefusal(EOPNOTSUPP);
  const std::uint64_t size = size_bytes_;
  if (zeroes && offset < size) zero(offset, std::min(end, size) - offset);
}

std::vector<ByteRange> MountedImage::data_from(std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t length = std::min(size - offset, looked_at_once);
  if (session_ == nullptr) return {{offset, length}};
  return guarded([&] { return session_->data_ranges(offset, length); });
}

std::uint64_t MountedImage::find_data(std::uint64_t offset) {
  const std::uint64_t size = size_now();
  for (; offset < size; offset += std::min(size - offset, looked_at_once)) {
    const auto ranges = data_from(offset, size);
    if (!ranges.empty()) return ranges.front().offset;
  }
  throw FileRefusal(ENXIO);
}

std::uint64_t MountedImage::find_hole(std::uint64_t offset) {
  const std::uint64_t size = size_now();
  if (offset >= size) throw FileRefusal(ENXIO);
  while (offset < size) {
    const std::uint64_t looked_to = offset + std::min(size - offset, looked_at_once);
    for (const ByteRange& range : data_from(offset, size)) {
      if (range.offset > offset) return offset;
      offset = range.offset + range.length;
    }
    if (offset < looked_to) return offset;
  }
  return size;
}

void MountedImage::flush() {
  const std::uint64_t changes = changes_;
  guarded([&] { provider_->flush(); });
  std::uint64_t flushed = changes_flushed_;
  while (flushed < changes && !changes_flushed_.compare_exchange_weak(flushed, changes)) {
  }
}

void MountedImage::flush_changes() {
  check_alive();
  if (changes_ != changes_flushed_) flush();
}

void MountedImage::close() { provider_->close(); }

}  // namespace pageserver::pagectl
