// What a test and the shim in the daemon share: a mapped file that says which call fails next.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <string>
#include <system_error>

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

/// One in a file of its own, for a test and the process that it starts with `fault_order_variable`.
class SharedFaultOrder {
public:
  explicit SharedFaultOrder(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void* const mapped = ::ftruncate(file, sizeof(FaultOrder)) == 0
                             ? ::mmap(nullptr, sizeof(FaultOrder), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                             : MAP_FAILED;
    const int error = errno;
    ::close(file);
    if (mapped == MAP_FAILED) throw std::system_error(error, std::generic_category(), path);
    order_ = new (mapped) FaultOrder{};
  }
  SharedFaultOrder(const SharedFaultOrder&) = delete;
  SharedFaultOrder& operator=(const SharedFaultOrder&) = delete;
  ~SharedFaultOrder() { ::munmap(order_, sizeof(FaultOrder)); }

  FaultOrder* operator->() const noexcept { return order_; }

private:
  FaultOrder* order_ = nullptr;
};

}  // namespace pageserver::test
