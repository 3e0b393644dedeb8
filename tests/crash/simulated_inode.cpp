#include "tests/crash/simulated_inode.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace pageserver::test {
namespace {

constexpr std::size_t earlier_max = 3;  // contents of one sector that are remembered; enough to tear what is rewritten

constexpr std::size_t times_max = 16;

}  // namespace

void SimulatedMapping::open(const BlockBytes& content) {
  file_ = ::memfd_create("simulated", MFD_CLOEXEC);
  follow(content, 0, content.size());
}

void SimulatedMapping::close() {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

const std::byte* SimulatedMapping::map(const BlockBytes& content, std::uint64_t length) {
  if (file_ < 0) open(content);
  void* const address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED | MAP_NORESERVE, file_, 0);
  return address == MAP_FAILED ? nullptr : static_cast<const std::byte*>(address);
}

void SimulatedMapping::unmap(const std::byte* address, std::uint64_t length) {
  ::munmap(const_cast<std::byte*>(address), length);
}

void SimulatedMapping::follow(const BlockBytes& content, std::uint64_t offset, std::uint64_t length) {
  if (file_ < 0) return;
  if (::ftruncate(file_, static_cast<off_t>(content.size())) != 0) throw std::runtime_error("ftruncate of a memfd");
  if (offset >= content.size()) return;
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, content.size() - offset)));
  content.read(offset, bytes);
  const auto written = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (written != static_cast<ssize_t>(bytes.size())) throw std::runtime_error("pwrite to a memfd");
}

std::vector<std::byte> SimulatedInode::sector_of(const BlockBytes& bytes, std::uint64_t sector) {
  std::vector<std::byte> data(sector_size);
  const std::uint64_t offset = sector * sector_size;
  if (offset < bytes.size()) {
    bytes.read(offset, std::span(data).first(
                           static_cast<std::size_t>(std::min<std::uint64_t>(sector_size, bytes.size() - offset))));
  }
  return data;
}

void SimulatedInode::put_sector(BlockBytes& bytes, std::uint64_t sector, std::span<const std::byte> data) {
  const std::uint64_t offset = sector * sector_size;
  if (offset >= bytes.size()) return;
  bytes.write(offset,
              data.first(static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), bytes.size() - offset))));
}

void SimulatedInode::note_dirty(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  ++change_;
  for (std::uint64_t sector = offset / sector_size; sector * sector_size < offset + length; ++sector) {
    auto [at, fresh] = dirty_.try_emplace(sector);
    if (!fresh && at->second.earlier.size() < earlier_max) at->second.earlier.push_back(sector_of(content_, sector));
    at->second.changed = change_;
  }
}

void SimulatedInode::read_disk(std::uint64_t offset, std::span<std::byte> buffer) const {
  for (std::uint64_t at = offset; at < offset + buffer.size();) {
    const std::uint64_t end = std::min((at / sector_size + 1) * sector_size, offset + buffer.size());
    if (!dirty_.contains(at / sector_size) && at < durable_.size())
      durable_.read(at, buffer.subspan(static_cast<std::size_t>(at - offset),
                                       static_cast<std::size_t>(std::min(end, durable_.size()) - at)));
    at = end;
  }
}

void SimulatedInode::touch(std::int64_t now_ns) {
  const Touch before{touches_++, modified_ns_};
  if (earlier_times_.size() < times_max)
    earlier_times_.push_back(before);
  else
    earlier_times_[static_cast<std::size_t>(now_ns) % times_max] = before;
  modified_ns_ = now_ns;
}

void SimulatedInode::write(std::uint64_t offset, std::span<const std::byte> data, std::int64_t now_ns) {
  touch(now_ns);
  if (offset + data.size() > size()) resize(offset + data.size(), now_ns);
  note_dirty(offset, data.size());
  content_.write(offset, data);
  mapping_.follow(content_, offset, data.size());
  allocate(offset, data.size());
}

void SimulatedInode::resize(std::uint64_t size, std::int64_t now_ns) {
  touch(now_ns);
  if (size == content_.size()) return;
  const std::uint64_t old = content_.size();
  // What is cut off reads as zeros if the file grows again, and the disk does not know that yet.
  if (size < old) {
    note_dirty(size, old - size);
    const std::uint64_t from = (size + BlockBytes::block_size - 1) / BlockBytes::block_size * BlockBytes::block_size;
    release(from, std::max(old, from) - from);
  }
  ++change_;
  earlier_sizes_.push_back(old);
  content_.resize(size);
  mapping_.follow(content_, size, 0);
}

void SimulatedInode::zero(std::uint64_t offset, std::uint64_t length, std::int64_t now_ns) {
  touch(now_ns);
  if (offset >= size()) return;
  length = std::min(length, size() - offset);
  note_dirty(offset, length);
  content_.zero(offset, length);
  mapping_.follow(content_, offset, length);
}

std::uint64_t SimulatedInode::blocks_missing(std::uint64_t offset, std::uint64_t length) const {
  std::uint64_t missing = 0;
  for (std::uint64_t at = offset / BlockBytes::block_size; at * BlockBytes::block_size < offset + length; ++at) {
    if (at >= allocated_.size() || !allocated_[at]) ++missing;
  }
  return length == 0 ? 0 : missing;
}

void SimulatedInode::allocate(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  const std::uint64_t end = (offset + length + BlockBytes::block_size - 1) / BlockBytes::block_size;
  if (allocated_.size() < end) allocated_.resize(end);
  for (std::uint64_t at = offset / BlockBytes::block_size; at < end; ++at) {
    if (!allocated_[at]) ++blocks_;
    allocated_[at] = true;
  }
}

void SimulatedInode::release(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t first = (offset + BlockBytes::block_size - 1) / BlockBytes::block_size;
  for (std::uint64_t at = first; (at + 1) * BlockBytes::block_size <= offset + length && at < allocated_.size(); ++at) {
    if (allocated_[at]) --blocks_;
    allocated_[at] = false;
  }
}

void SimulatedInode::finish_sync(const Sync& sync, bool times) {
  if (times && sync.touches >= durable_touches_) {
    durable_modified_ns_ = sync.modified_ns;
    durable_touches_ = sync.touches;
    std::erase_if(earlier_times_, [&](const Touch& one) { return one.number < sync.touches; });
  }
  // A sync that began later, and is done, made all of this durable and more.
  if (sync.started < newest_sync_) return;
  newest_sync_ = sync.started;
  durable_.resize(std::max(durable_.size(), sync.content.size()));
  for (auto at = dirty_.begin(); at != dirty_.end();) {
    put_sector(durable_, at->first, sector_of(sync.content, at->first));
    if (at->second.changed <= sync.started) {
      at = dirty_.erase(at);
    } else {
      at->second.earlier.clear();
      ++at;
    }
  }
  durable_.resize(sync.content.size());
  earlier_sizes_.clear();
}

void SimulatedInode::fail_sync(Random& random, bool drops_pages) {
  durable_.resize(content_.size());
  for (const auto& [sector, dirty] : dirty_) {
    if (random.one_in(2)) {
      put_sector(durable_, sector, sector_of(content_, sector));
    } else if (drops_pages && random.one_in(2)) {
      put_sector(content_, sector, sector_of(durable_, sector));
      mapping_.follow(content_, sector * sector_size, sector_size);
    }
  }
  dirty_.clear();
  earlier_sizes_.clear();
}

void SimulatedInode::tear_sector(BlockBytes& left, std::uint64_t offset, Tear tear, Random& random) const {
  const auto bytes_of = [&](const BlockBytes& from) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(tear.sector_bytes));
    if (offset < from.size()) {
      from.read(offset,
                std::span(bytes).first(static_cast<std::size_t>(std::min(tear.sector_bytes, from.size() - offset))));
    }
    return bytes;
  };
  if (offset >= left.size()) return;
  std::vector<std::byte> torn = bytes_of(left);
  const std::vector<std::byte> before = bytes_of(durable_), after = bytes_of(content_);
  const std::size_t begin = random.one_in(3) ? 0 : static_cast<std::size_t>(random.below(torn.size()));
  const std::size_t end =
      random.one_in(3) ? torn.size() : begin + static_cast<std::size_t>(random.below(torn.size() - begin) + 1);
  const std::uint64_t way = random.below(3);
  for (std::size_t at = begin; at < end; ++at) {
    if (tear.changes_only && before[at] == after[at]) continue;
    torn[at] = way == 0 ? before[at] : way == 1 ? after[at] : static_cast<std::byte>(random.next() >> 32);
  }
  left.write(offset, std::span(torn).first(
                         static_cast<std::size_t>(std::min<std::uint64_t>(torn.size(), left.size() - offset))));
}

void SimulatedInode::crash(Crash crash, Random& random, Tear tear) {
  if (crash == Crash::kill) return;
  // A time may reach the disk long before what it is the time of, or long after.
  if (crash == Crash::power && !earlier_times_.empty()) {
    const std::uint64_t choice = random.below(earlier_times_.size() + 2);
    if (choice == 0) modified_ns_ = durable_modified_ns_;
    if (choice > 1) modified_ns_ = earlier_times_[choice - 2].modified_ns;
  }
  if (crash == Crash::power_lost) modified_ns_ = durable_modified_ns_;
  durable_modified_ns_ = modified_ns_;
  durable_touches_ = touches_;
  earlier_times_.clear();
  std::uint64_t size = durable_.size();
  if (crash == Crash::power_kept) size = content_.size();
  if (crash == Crash::power && content_.size() != size) {
    const std::uint64_t choice = random.below(earlier_sizes_.size() + 2);
    if (choice == 0) size = content_.size();
    if (choice > 1) size = earlier_sizes_[choice - 2];
  }
  // A sector past the chosen end can't be on the disk; a revived tail keeps what the disk had.
  BlockBytes left = durable_;
  if (left.size() < size) left.resize(size);
  for (const auto& [sector, dirty] : dirty_) {
    if (crash == Crash::power_lost) break;
    if (crash == Crash::power_kept) {
      put_sector(left, sector, sector_of(content_, sector));
      continue;
    }
    const std::uint64_t choice = random.below(dirty.earlier.size() + 3);
    if (choice == 0) continue;
    const bool newest = choice <= 2;
    put_sector(left, sector, newest ? sector_of(content_, sector) : dirty.earlier[choice - 3]);
  }
  left.resize(size);
  if (crash == Crash::power && tear.sector_bytes != 0 && !dirty_.empty()) {
    const auto writing = std::next(dirty_.begin(), static_cast<std::ptrdiff_t>(random.below(dirty_.size())));
    const std::uint64_t offset = writing->first * sector_size;
    tear_sector(left, offset - offset % tear.sector_bytes, tear, random);
  }
  durable_ = left;
  content_ = left;
  dirty_.clear();
  earlier_sizes_.clear();
}

}  // namespace pageserver::test
