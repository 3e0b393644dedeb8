// Loaded into the real daemon by LD_PRELOAD: makes chosen calls fail, as fault_shim.hpp says.
#include "tests/support/fault_shim.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>

// The allocator's own names: dlsym() needs memory before it could find any.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

using pageserver::test::FaultKind;
using pageserver::test::FaultOrder;

FaultOrder* order = nullptr;

__attribute__((constructor)) void begin() {
  const char* const path = std::getenv(pageserver::test::fault_order_variable);
  if (path == nullptr) return;
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void* const mapped = ::mmap(nullptr, sizeof(FaultOrder), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (mapped != MAP_FAILED) order = static_cast<FaultOrder*>(mapped);
}

bool fails(FaultKind kind) noexcept {
  if (order == nullptr || order->kind.load(std::memory_order_relaxed) != kind) return false;
  const std::uint64_t number = order->calls.fetch_add(1) + 1;
  if (number < order->first || number - order->first >= order->count) return false;
  ++order->failed;
  errno = static_cast<int>(order->error.load());
  return true;
}

/// Before a call by which others see something of this process. One thread at a time, so that one process is killed
/// once: nobody gets past who has done so.
void may_end() noexcept {
  static std::atomic_flag busy;
  if (order == nullptr || order->kind.load(std::memory_order_relaxed) != FaultKind::kill) return;
  while (busy.test_and_set()) ::sched_yield();
  if (fails(FaultKind::kill)) {
    ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGKILL);
    for (;;) ::pause();
  }
  busy.clear();
}

using Syscall = long(long, ...);
// No static of a function: the guard of one may itself end in syscall().
std::atomic<Syscall*> real_syscall{nullptr};

template <class Function>
Function* real(const char* name) noexcept {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) { return fails(FaultKind::memory) ? nullptr : __libc_malloc(size); }

void* calloc(std::size_t count, std::size_t size) {
  return fails(FaultKind::memory) ? nullptr : __libc_calloc(count, size);
}

void* realloc(void* block, std::size_t size) {
  return fails(FaultKind::memory) ? nullptr : __libc_realloc(block, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return fails(FaultKind::memory) ? nullptr : __libc_memalign(alignment, size);
}

int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  if (fails(FaultKind::memory)) return ENOMEM;
  *block = __libc_memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  static auto* const next = real<decltype(::pthread_create)>("pthread_create");
  return fails(FaultKind::thread) ? EAGAIN : next(thread, attributes, start, argument);
}

int epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) noexcept {
  static auto* const next = real<decltype(::epoll_ctl)>("epoll_ctl");
  // Only what is added takes something that the system may not have. A change is also how one thread wakes another.
  if (operation == EPOLL_CTL_ADD && fails(FaultKind::epoll_ctl)) return -1;
  return next(epoll, operation, descriptor, event);
}

int epoll_create1(int flags) noexcept {
  static auto* const next = real<decltype(::epoll_create1)>("epoll_create1");
  return fails(FaultKind::epoll_create) ? -1 : next(flags);
}

int epoll_create(int size) noexcept {
  static auto* const next = real<decltype(::epoll_create)>("epoll_create");
  return fails(FaultKind::epoll_create) ? -1 : next(size);
}

int eventfd(unsigned int value, int flags) noexcept {
  static auto* const next = real<decltype(::eventfd)>("eventfd");
  return fails(FaultKind::eventfd) ? -1 : next(value, flags);
}

int timerfd_create(int clock, int flags) noexcept {
  static auto* const next = real<decltype(::timerfd_create)>("timerfd_create");
  return fails(FaultKind::timerfd) ? -1 : next(clock, flags);
}

int accept4(int socket, sockaddr* address, socklen_t* length, int flags) {
  static auto* const next = real<decltype(::accept4)>("accept4");
  return fails(FaultKind::accept) ? -1 : next(socket, address, length, flags);
}

ssize_t pwrite(int file, const void* bytes, std::size_t count, off_t offset) {
  may_end();
  return ::syscall(SYS_pwrite64, file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void* bytes, std::size_t count, off64_t offset) {
  may_end();
  return ::syscall(SYS_pwrite64, file, bytes, count, offset);
}

ssize_t pwritev(int file, const iovec* parts, int count, off_t offset) {
  may_end();
  return ::syscall(SYS_pwritev, file, parts, static_cast<long>(count), offset, 0L);
}

ssize_t pwritev64(int file, const iovec* parts, int count, off64_t offset) {
  may_end();
  return ::syscall(SYS_pwritev, file, parts, static_cast<long>(count), offset, 0L);
}

int fdatasync(int file) {
  may_end();
  return static_cast<int>(::syscall(SYS_fdatasync, file));
}

int fsync(int file) {
  may_end();
  return static_cast<int>(::syscall(SYS_fsync, file));
}

int fallocate(int file, int mode, off_t offset, off_t length) {
  may_end();
  return static_cast<int>(::syscall(SYS_fallocate, file, mode, offset, length));
}

int ftruncate(int file, off_t length) noexcept {
  may_end();
  return static_cast<int>(::syscall(SYS_ftruncate, file, length));
}

int unlinkat(int folder, const char* name, int flags) noexcept {
  may_end();
  return static_cast<int>(::syscall(SYS_unlinkat, folder, name, flags));
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  may_end();
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned int flags) noexcept {
  may_end();
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

// The one way to openat2(2), by which files beside an image are made.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  const long first = va_arg(list, long), second = va_arg(list, long), third = va_arg(list, long);
  const long fourth = va_arg(list, long), fifth = va_arg(list, long), sixth = va_arg(list, long);
  va_end(list);
  if (number == SYS_openat2 && (reinterpret_cast<const open_how*>(third)->flags & O_CREAT) != 0) may_end();
  Syscall* next = real_syscall.load();
  if (next == nullptr) {
    next = real<Syscall>("syscall");
    real_syscall = next;
  }
  return next(number, first, second, third, fourth, fifth, sixth);
}

ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  may_end();
  return ::syscall(SYS_sendmsg, socket, message, flags);
}

ssize_t send(int socket, const void* bytes, std::size_t count, int flags) {
  may_end();
  return ::syscall(SYS_sendto, socket, bytes, count, flags, nullptr, 0);
}

}  // extern "C"
