#include "tests/unit/storage/failing_resources.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace pageserver::test {
namespace {

/// Counts what is asked for, and says when it is not to be had.
class Countdown {
public:
  void begin(std::uint64_t at, bool forever) {
    count_ = 0;
    forever_ = forever;
    at_ = at;
  }
  void end() { at_ = 0; }
  bool failed() const { return at_ != 0 && count_ >= at_; }
  bool fails() {
    const std::uint64_t at = at_;
    if (at == 0) return false;
    const std::uint64_t count = ++count_;
    return count == at || (forever_ && count > at);
  }

private:
  std::atomic<std::uint64_t> at_{0}, count_{0};
  std::atomic<bool> forever_{false};
};

Countdown memory;
Countdown threads;
std::atomic<std::size_t> counted_bytes{0};
std::atomic<std::uint64_t> counted{0};
std::atomic<bool> all_counted{false};
thread_local bool with_memory = false;

void* allocated(std::size_t bytes, std::size_t alignment) {
  if (!with_memory && memory.fails()) return nullptr;
  if (bytes == 0) bytes = 1;
  if (all_counted || bytes == counted_bytes) ++counted;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* allocated_or_thrown(std::size_t bytes, std::size_t alignment) {
  void* const memory_found = allocated(bytes, alignment);
  if (memory_found == nullptr) throw std::bad_alloc{};
  return memory_found;
}

}  // namespace

FailingMemory::FailingMemory(std::uint64_t at, bool forever) { memory.begin(at, forever); }
FailingMemory::~FailingMemory() { memory.end(); }
bool FailingMemory::failed() const { return memory.failed(); }

FailingThreads::FailingThreads(std::uint64_t at, bool forever) { threads.begin(at, forever); }
FailingThreads::~FailingThreads() { threads.end(); }
bool FailingThreads::failed() const { return threads.failed(); }

CountedAllocations::CountedAllocations() {
  counted = 0;
  all_counted = true;
}
CountedAllocations::CountedAllocations(std::size_t bytes) {
  counted = 0;
  counted_bytes = bytes;
}
CountedAllocations::~CountedAllocations() {
  counted_bytes = 0;
  all_counted = false;
}
std::uint64_t CountedAllocations::count() const { return counted; }

WithMemory::WithMemory() : before_{with_memory} { with_memory = true; }
WithMemory::~WithMemory() { with_memory = before_; }

}  // namespace pageserver::test

void* operator new(std::size_t bytes) { return pageserver::test::allocated_or_thrown(bytes, 1); }
void* operator new[](std::size_t bytes) { return pageserver::test::allocated_or_thrown(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return pageserver::test::allocated_or_thrown(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return pageserver::test::allocated_or_thrown(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return pageserver::test::allocated(bytes, 1); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return pageserver::test::allocated(bytes, 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                              void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (pageserver::test::threads.fails()) return EAGAIN;
  return create(thread, attributes, run, argument);
}
