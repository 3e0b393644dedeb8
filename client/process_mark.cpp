#include "client/process_mark.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <atomic>
#include <new>

namespace pageserver::client {
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
  if (mark == 0) {
    mark = own_pid();
    word->store(mark, std::memory_order_relaxed);
  }
  return mark;
}

}  // namespace pageserver::client
