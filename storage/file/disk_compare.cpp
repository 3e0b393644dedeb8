#include "storage/file/disk_compare.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "base/mutation.hpp"

namespace pageserver::storage {
namespace {

// What O_DIRECT needs at most of offsets, lengths and memory: the largest sector of disks.
constexpr std::uint64_t block_bytes = 4096;
constexpr std::uint64_t part_bytes = 1ull << 20;

struct AlignedDelete {
  void operator()(std::byte* bytes) const noexcept { ::operator delete[](bytes, std::align_val_t{block_bytes}); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedDelete>;

AlignedBytes make_aligned(std::uint64_t length) {
  return AlignedBytes{static_cast<std::byte*>(::operator new[](length, std::align_val_t{block_bytes}))};
}

/// As write_fully() and its like, but goes on only from where a block begins, as such reads must.
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

bool disk_has(const Folder& folder, const std::string& name, const File& file, std::uint64_t from,
              std::uint64_t until) {
  FileSystem& file_system = folder.file_system();
  if (!retried([&] { return file_system.sync_data(file.descriptor()); }).ok()) return false;
  const IoResult opened = folder.try_open_file(name, O_RDONLY | O_DIRECT, 0);
  if (!opened.ok()) return false;
  const File direct{file_system, static_cast<int>(opened.value), file.path()};
  const FileStatus there = direct.status();
  const FileStatus ours = file.status();
  if (there.device != ours.device || there.inode != ours.inode) return false;
  if (mutated(Mutation::recovery_trusts_sync)) return true;

  const AlignedBytes disk = make_aligned(part_bytes);
  const AlignedBytes memory = make_aligned(part_bytes);
  for (std::uint64_t at = from / block_bytes * block_bytes; at < until; at += part_bytes) {
    const auto wanted = static_cast<std::size_t>(std::min(until - at, part_bytes));
    // Whole blocks: of the last one the file may have a part only.
    const std::uint64_t whole = (wanted + block_bytes - 1) / block_bytes * block_bytes;
    if (read_blocks(direct, at, {disk.get(), static_cast<std::size_t>(whole)}) < wanted) return false;
    if (file.read_up_to(at, {memory.get(), wanted}) < wanted) return false;
    if (std::memcmp(disk.get(), memory.get(), wanted) != 0) return false;
  }
  return true;
}

}  // namespace pageserver::storage
