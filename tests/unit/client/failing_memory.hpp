// An operator new that fails on demand, on the thread that asks for it. Include it in one source of a program.
#pragma once

#include <cstdlib>
#include <new>

namespace pageserver::test {

/// Counts this thread's allocations while it lives; the one of that number fails, and only that one.
class FailingAllocation {
public:
  explicit FailingAllocation(unsigned number) {
    left_ = number;
    failed_ = false;
  }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation() { left_ = 0; }

  static bool failed() { return failed_; }
  static void count() {
    if (left_ == 0 || --left_ != 0) return;
    failed_ = true;
    throw std::bad_alloc{};
  }

private:
  inline static thread_local unsigned left_ = 0;
  inline static thread_local bool failed_ = false;
};

}  // namespace pageserver::test

// Every form that ends in malloc() is here, so that none meets the operator delete of another.
void* operator new(std::size_t bytes) {
  pageserver::test::FailingAllocation::count();
  if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc{};
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
