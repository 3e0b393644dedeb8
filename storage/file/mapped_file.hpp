// A file's bytes read through a mapping: a small read costs a copy and no system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {

/// Lets this process use MappedFile: installs a handler for SIGBUS. The kernel sends that to a thread that touches a
/// mapped byte which the file no longer has or the disk can't give. The handler catches accesses by read_mapped() and
/// mapped_equals() alone; any other ends the process as before. For programs that own their signals: the daemon, not a
/// library.
void enable_mapped_reads() noexcept;
bool mapped_reads_enabled() noexcept;

/// Copies `buffer.size()` bytes from a mapping. False when the bytes can't be had: the caller reads the file, and that
/// call's error says why.
bool read_mapped(const std::byte* from, std::span<std::byte> buffer) noexcept;
/// Whether the mapping has these bytes. False also when they can't be had.
bool mapped_equals(const std::byte* from, std::span<const std::byte> bytes) noexcept;

/// Maps a file that only grows. When the file outgrows the newest mapping, a larger one is made, at least twice as
/// long; the older ones stay, so that an address which address() returned is valid until destruction. Not thread-safe.
class MappedFile {
public:
  /// `file` outlives this. The first mapping takes at least `bytes_min` addresses.
  MappedFile(const File& file, std::uint64_t bytes_min) : file_{file}, bytes_min_{bytes_min} {}
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// Where the file's byte 0 is, with at least `bytes` of the file behind it; null where the file can't be mapped.
  const std::byte* address(std::uint64_t bytes);

private:
  struct Mapping {
    const std::byte* address;
    std::uint64_t bytes;
  };
  const File& file_;
  const std::uint64_t bytes_min_;
  std::vector<Mapping> mappings_;  // the last one is the largest; each has at least twice the bytes of the one before
  bool failed_ = false;
};

}  // namespace pageserver::storage
