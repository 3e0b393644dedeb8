#include "server/runtime/time_slice.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace pageserver::server {

namespace {

/// struct sched_attr of the kernel, in its first size, which C libraries don't have.
struct Attributes {
  std::uint32_t size = sizeof(Attributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;  ///< of a thread without real time: the slice
  std::uint64_t deadline_ns = 0;
  std::uint64_t period_ns = 0;
};

}  // namespace

bool ask_for_short_turns(std::chrono::nanoseconds slice) noexcept {
  Attributes attributes;
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != 0) return true;
  attributes.runtime_ns = static_cast<std::uint64_t>(slice.count());
  return ::syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

}  // namespace pageserver::server
