// What a thread of this process does just now.
#pragma once

#include <sys/types.h>

namespace pageserver::server {

/// Whether a thread of this process waits in the kernel: for a disk, or a lock. One that computes, or would like to,
/// is not helped by another thread.
bool waits_in_kernel(pid_t thread) noexcept;

}  // namespace pageserver::server
