// Memory and threads that run out on demand: linked into a program, this replaces its operator new and pthread_create.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pageserver::test {

/// While it lives, the `at`-th allocation of the process fails, and with `forever` all after it; the first is 1.
/// One at a time. Nothing of Catch2 is called meanwhile.
class FailingMemory {
public:
  explicit FailingMemory(std::uint64_t at, bool forever = false);
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;
  ~FailingMemory();
  /// Whether it came so far.
  bool failed() const;
};

/// The same for threads that are to be made.
class FailingThreads {
public:
  explicit FailingThreads(std::uint64_t at, bool forever = false);
  FailingThreads(const FailingThreads&) = delete;
  FailingThreads& operator=(const FailingThreads&) = delete;
  ~FailingThreads();
  bool failed() const;
};

/// Counts the allocations that the process makes while it lives: all of them, or those of so many bytes. One at a time.
class CountedAllocations {
public:
  CountedAllocations();
  explicit CountedAllocations(std::size_t bytes);
  CountedAllocations(const CountedAllocations&) = delete;
  CountedAllocations& operator=(const CountedAllocations&) = delete;
  ~CountedAllocations();
  std::uint64_t count() const;
};

/// While it lives, the calling thread's allocations succeed and are not counted.
class WithMemory {
public:
  WithMemory();
  WithMemory(const WithMemory&) = delete;
  WithMemory& operator=(const WithMemory&) = delete;
  ~WithMemory();

private:
  bool before_;
};

}  // namespace pageserver::test
