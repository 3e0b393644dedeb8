#include "storage/file/disk_compare.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "storage/file/file_system_warning.hpp"
#include "storage/file/mapped_file.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {
namespace {

// O_DIRECT wants offsets, lengths and memory aligned to the disk's sectors: 4096 bytes at most.
constexpr std::uint64_t block_bytes = 4096;
constexpr std::uint64_t part_bytes = 1ull << 20;

struct AlignedDelete {
  void operator()(std::byte* bytes) const noexcept { ::operator delete[](bytes, std::align_val_t{block_bytes}); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;

AlignedBytes make_aligned(std::uint64_t length) {
  return AlignedBytes{static_cast<std::byte*>(::operator new[](length, std::align_val_t{block_bytes}))};
}

/// Whether an O_DIRECT read of this file comes from the disk. Some file systems accept the flag and answer from the
/// page cache.
bool reads_disk(const FileStatus& status, const File& file) {
  if (status.direct_reads) return *status.direct_reads;
  constexpr std::uint64_t zfs = 0x2FC12FC1;
  const IoResult type = retried([&] { return file.file_system().file_system_type(file.descriptor()); });
  if (!type.ok()) return false;
  const auto magic = static_cast<std::uint64_t>(type.value) & 0xFFFFFFFF;
  return magic != zfs && file_system_warning(magic).empty();
}

/// As read_fully(), but each call begins at a block, as O_DIRECT wants.
std::uint64_t read_blocks(const File& file, std::uint64_t offset, std::span<std::byte> buffer) {
  std::uint64_t done = 0;
  while (done < buffer.size()) {
    const IoResult read =
        retried([&] { return file.file_system().read_at(file.descriptor(), offset + done, buffer.subspan(done)); });
    const std::uint64_t now = read.ok() ? static_cast<std::uint64_t>(read.value) : 0;
    if (now % block_bytes != 0 || done + now == buffer.size()) return done + now;
    if (now == 0) break;
    done += now;
  }
  return done;
}

}  // namespace

std::optional<std::uint64_t> disk_prefix(const Folder& folder, const std::string& name, const File& file,
                                         const std::atomic<std::uint64_t>& limit, std::span<const std::byte> mapped) {
  FileSystem& file_system = folder.file_system();
  if (limit == 0) return 0;
  if (!retried([&] { return file_system.sync_data(file.descriptor()); }).ok()) return std::nullopt;
  const IoResult opened = folder.try_open_file(name, O_RDONLY | O_DIRECT, 0);
  if (!opened.ok()) return 0;
  const File direct{file_system, static_cast<int>(opened.value), file.path()};
  const FileStatus on_disk = direct.status();
  const FileStatus ours = file.status();
  if (on_disk.device != ours.device || on_disk.inode != ours.inode) return 0;
  if (!reads_disk(on_disk, direct)) return 0;
  if (mutated(Mutation::recovery_trusts_sync)) return ours.size_bytes;

  const AlignedBytes disk = make_aligned(part_bytes);
  std::vector<std::byte> memory;
  const auto same = [&](std::uint64_t at, std::span<const std::byte> there) {
    if (at + there.size() <= mapped.size()) return mapped_equals(mapped.data() + at, there);
    memory.resize(part_bytes);
    return file.read_up_to(at, std::span{memory}.first(there.size())) == there.size() &&
           std::memcmp(there.data(), memory.data(), there.size()) == 0;
  };
  std::uint64_t at = 0;
  for (std::uint64_t until; at < (until = std::min<std::uint64_t>(limit, ours.size_bytes));) {
    const auto wanted = static_cast<std::size_t>(std::min(until - at, part_bytes));
    // Whole blocks are asked for: the file may end within the last one.
    const std::uint64_t whole = (wanted + block_bytes - 1) / block_bytes * block_bytes;
    if (read_blocks(direct, at, {disk.get(), static_cast<std::size_t>(whole)}) < wanted) break;
    if (!same(at, {disk.get(), wanted})) break;
    at += wanted;
  }
  return at;
}

}  // namespace pageserver::storage
