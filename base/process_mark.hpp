// In which process an object was made, told without a system call.
#pragma once

#include <cstdint>

namespace pageserver::base {

/// A number that is the same in all of one process and different in its children after fork(2). Thread-safe.
std::uint64_t process_mark() noexcept;

/// The process id in a mark, for messages.
constexpr std::uint64_t process_id_of(std::uint64_t mark) noexcept { return mark & 0xffffffffu; }

/// Keeps an object that a child after fork(2) must not destroy: its mutexes may be locked by threads that are not
/// there.
void keep_for_ever(void* object) noexcept;

}  // namespace pageserver::base
