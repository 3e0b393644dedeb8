// Loaded into the real daemon by LD_PRELOAD: holds chosen calls to the disk, or makes them slow, as disk_shim.hpp says.
#include "tests/support/disk_shim.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace {

using pageserver::test::DiskOrder;

DiskOrder* order = nullptr;

__attribute__((constructor)) void begin() {
  const char* const path = std::getenv(pageserver::test::disk_order_variable);
  if (path == nullptr) return;
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void* const mapped = ::mmap(nullptr, sizeof(DiskOrder), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped != MAP_FAILED) order = static_cast<DiskOrder*>(mapped);
}

void pass(std::uint32_t kind, int file) noexcept {
  if (order == nullptr || (order->kinds.load(std::memory_order_relaxed) & kind) == 0) return;
  const int error = errno;
  char link[64];
  char path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = '\0';
  if (std::strstr(path, order->part) == nullptr) {
    errno = error;
    return;
  }
  ++order->slowed;
  ++order->held;
  while (order->hold != 0 && (order->kinds & kind) != 0) ::usleep(500);
  --order->held;
  if (const std::uint64_t delay = order->delay_us; delay != 0) ::usleep(static_cast<useconds_t>(delay));
  errno = error;
}

template <class Function>
Function* real(const char* name) noexcept {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t pread(int file, void* buffer, std::size_t size, off_t offset) {
  static auto* const next = real<decltype(::pread)>("pread64");
  pass(DiskOrder::reads, file);
  return next(file, buffer, size, offset);
}
ssize_t pread64(int file, void* buffer, std::size_t size, off64_t offset) { return pread(file, buffer, size, offset); }

ssize_t pwrite(int file, const void* data, std::size_t size, off_t offset) {
  static auto* const next = real<decltype(::pwrite)>("pwrite64");
  pass(DiskOrder::writes, file);
  return next(file, data, size, offset);
}
ssize_t pwrite64(int file, const void* data, std::size_t size, off64_t offset) {
  return pwrite(file, data, size, offset);
}

ssize_t pwritev(int file, const iovec* parts, int count, off_t offset) {
  static auto* const next = real<decltype(::pwritev)>("pwritev64");
  pass(DiskOrder::writes, file);
  return next(file, parts, count, offset);
}
ssize_t pwritev64(int file, const iovec* parts, int count, off64_t offset) {
  return pwritev(file, parts, count, offset);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
  static auto* const next = real<decltype(::fallocate)>("fallocate64");
  pass(DiskOrder::writes, file);
  return next(file, mode, offset, length);
}
int fallocate64(int file, int mode, off64_t offset, off64_t length) { return fallocate(file, mode, offset, length); }

int fdatasync(int file) {
  static auto* const next = real<decltype(::fdatasync)>("fdatasync");
  pass(DiskOrder::syncs, file);
  return next(file);
}

int fsync(int file) {
  static auto* const next = real<decltype(::fsync)>("fsync");
  pass(DiskOrder::syncs, file);
  return next(file);
}

dirent* readdir(DIR* folder) {
  static auto* const next = real<decltype(::readdir)>("readdir64");
  pass(DiskOrder::lists, ::dirfd(folder));
  return next(folder);
}
dirent64* readdir64(DIR* folder) { return reinterpret_cast<dirent64*>(readdir(folder)); }

}  // extern "C"
