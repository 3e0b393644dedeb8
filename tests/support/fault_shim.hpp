// What a test and the shim in the daemon share: a mapped file that says which call fails next.
#pragma once

#include <atomic>
#include <cstdint>

namespace pageserver::test {

enum class FaultKind : std::uint32_t {
  none,
  memory,
  thread,
  epoll_ctl,
  epoll_create,
  eventfd,
  timerfd,
  accept,
  kill,  ///< no call fails: the process is killed before it changes a file, syncs one or sends something
};

/// Environment variable with the path of the file that holds a FaultOrder.
inline constexpr char fault_order_variable[] = "PAGESERVER_TEST_FAULT_ORDER";

/// From the moment at which `kind` is set, of the calls of that kind number `first` fails, counted from 1, and those
/// behind it up to `count` in all.
struct FaultOrder {
  std::atomic<FaultKind> kind;
  std::atomic<std::uint32_t> error;  ///< errno of the call that fails
  std::atomic<std::uint64_t> first;
  std::atomic<std::uint64_t> count;
  std::atomic<std::uint64_t> calls;   ///< since then
  std::atomic<std::uint64_t> failed;  ///< of these
};

}  // namespace pageserver::test
