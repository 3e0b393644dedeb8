#include "base/process_mark.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <chrono>
#include <new>

namespace pageserver::base {
namespace {

std::uint64_t own_pid() noexcept { return static_cast<std::uint64_t>(::getpid()); }

/// A word that the kernel makes zero in a child; null where it can't.
std::atomic<std::uint64_t>* make_word() noexcept {
  const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const page = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (::madvise(page, bytes, MADV_WIPEONFORK) == 0) return new (page) std::atomic<std::uint64_t>{0};
  (void)::munmap(page, bytes);
  return nullptr;
}

}  // namespace

std::uint64_t process_mark() noexcept {
  static std::atomic<std::uint64_t>* const word = make_word();
  if (word == nullptr) return own_pid();
  std::uint64_t mark = word->load(std::memory_order_relaxed);
  if (mark != 0) return mark;
  // With the time: a process id comes again, in a grandchild too.
  const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const std::uint64_t fresh = own_pid() | now << 32u;
  return word->compare_exchange_strong(mark, fresh, std::memory_order_relaxed) ? fresh : mark;
}

void keep_for_ever(void* object) noexcept {
  // Reachable from here, so that a leak checker sees no leak.
  struct Kept {
    void* object;
    Kept* next;
  };
  static std::atomic<Kept*> first{nullptr};
  auto* const kept = new (std::nothrow) Kept{object, first.load()};
  if (kept != nullptr) first.store(kept);
}

}  // namespace pageserver::base
