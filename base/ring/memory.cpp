#include "base/ring/memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <system_error>

#include "base/ring/layout.hpp"

namespace pageserver::ring {

namespace {

constexpr int seals_needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

Memory::~Memory() {
  if (start_ != nullptr) ::munmap(start_, bytes_);
}

// Populated here: its pages count as those of the process that touches them first.
MadeMemory make_memory(std::uint32_t direction_bytes) noexcept {
  MadeMemory made;
  const std::size_t bytes = memory_bytes(direction_bytes);
  made.descriptor.reset(::memfd_create("pageserver ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.descriptor.is_open() || ::ftruncate(made.descriptor.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(made.descriptor.get(), F_ADD_SEALS, seals_needed) != 0)
    return made;
  void* const start =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, made.descriptor.get(), 0);
  if (start != MAP_FAILED) made.memory = Memory(static_cast<std::byte*>(start), bytes);
  return made;
}

Memory map_memory(int descriptor, std::uint32_t direction_bytes, std::string& fault) {
  const std::size_t bytes = memory_bytes(direction_bytes);
  // A file on a file system knows no seals, or has the one that allows no others.
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  if (seals < 0) {
    fault = "the descriptor is no memfd";
    return {};
  }
  if ((seals & seals_needed) != seals_needed) {
    fault = "the memfd is not sealed against shrinking, growing and other seals: its seals are " +
            std::to_string(seals) + ", wanted are " + std::to_string(seals_needed);
    return {};
  }
  // Huge pages can run out after they were mapped, which is a signal.
  struct statfs system {};
  if (::fstatfs(descriptor, &system) != 0 || system.f_type != TMPFS_MAGIC) {
    fault = "the memfd is not of ordinary memory";
    return {};
  }
  struct stat found {};
  if (::fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode) ||
      static_cast<std::uint64_t>(found.st_size) != bytes) {
    fault = "the memfd has " + std::to_string(found.st_size) + " bytes, wanted are exactly " + std::to_string(bytes);
    return {};
  }
  // Not populated: that is for the thread that comes to use it.
  void* const start = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (start == MAP_FAILED) {
    const int error = errno;
    fault = "the memfd can't be mapped for reading and writing: " + std::generic_category().message(error);
    return {};
  }
  return {static_cast<std::byte*>(start), bytes};
}

}  // namespace pageserver::ring
