// Loaded into the real daemon by LD_PRELOAD: makes chosen calls fail, as fault_shim.hpp says.
#include "tests/support/fault_shim.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
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

}  // extern "C"
