#include "storage/file/mapped_file.hpp"

#include <ucontext.h>

#include <csetjmp>
#include <csignal>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace pageserver::storage {
namespace {

std::atomic<bool> enabled{false};
// Where this thread goes on when the bytes that it touches can't be had; null outside of touch_mapped().
thread_local sigjmp_buf* landing = nullptr;

void on_bus_error(int number, siginfo_t*, void* context) {
  if (landing != nullptr) {
    // The jump does not restore the signal mask, so the handler does: SIGBUS is blocked while it runs.
    ::pthread_sigmask(SIG_SETMASK, &static_cast<const ucontext_t*>(context)->uc_sigmask, nullptr);
    ::siglongjmp(*landing, 1);
  }
  // Not an access through touch_mapped(): it is tried again with the default action, which ends the process.
  ::signal(number, SIG_DFL);
}

/// Returns what `touch` returns, or false when a byte that it touches can't be had. It works like this: the kernel
/// raises SIGBUS at the access, on_bus_error() jumps back to here, and no destructor within `touch` runs. So `touch`
/// must own nothing.
template <class Touch>
bool touch_mapped(Touch touch) noexcept {
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {
    landing = nullptr;
    return false;
  }
  landing = &here;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const bool result = touch();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  landing = nullptr;
  return result;
}

}  // namespace

void enable_mapped_reads() noexcept {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  enabled = ::sigaction(SIGBUS, &action, nullptr) == 0;
}

bool mapped_reads_enabled() noexcept { return enabled; }

bool read_mapped(const std::byte* from, std::span<std::byte> buffer) noexcept {
  return touch_mapped([=] {
    std::memcpy(buffer.data(), from, buffer.size());
    return true;
  });
}

bool mapped_equals(const std::byte* from, std::span<const std::byte> bytes) noexcept {
  return touch_mapped([=] { return std::memcmp(from, bytes.data(), bytes.size()) == 0; });
}

MappedFile::~MappedFile() {
  for (const Mapping& mapping : mappings_) file_.file_system().unmap(mapping.address, mapping.bytes);
}

const std::byte* MappedFile::address(std::uint64_t bytes) {
  if (!mappings_.empty() && mappings_.back().bytes >= bytes) return mappings_.back().address;
  if (failed_) return nullptr;
  Mapping mapping{nullptr, std::max(bytes * 2, bytes_min_)};
  failed_ = !file_.file_system().map(file_.descriptor(), mapping.bytes, mapping.address).ok();
  if (failed_) return nullptr;
  mappings_.push_back(mapping);
  return mapping.address;
}

}  // namespace pageserver::storage
