// What a test and the shim in the daemon share: a mapped file that says which calls to the disk are held, or take long.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace pageserver::test {

/// Environment variable with the path of the file that holds a DiskOrder.
inline constexpr char disk_order_variable[] = "PAGESERVER_TEST_DISK_ORDER";

/// Calls of these kinds on files whose path contains `part` wait while `hold` is set, and take `delay_us` longer.
struct DiskOrder {
  static constexpr std::uint32_t reads = 1;
  static constexpr std::uint32_t writes = 2;  ///< and what reserves room
  static constexpr std::uint32_t syncs = 4;
  static constexpr std::uint32_t lists = 8;  ///< of folders

  std::atomic<std::uint32_t> kinds;
  std::atomic<std::uint32_t> hold;
  std::atomic<std::uint64_t> delay_us;
  std::atomic<std::uint32_t> held;    ///< calls that wait now
  std::atomic<std::uint64_t> slowed;  ///< calls so far that were held or took longer
  char part[256];
};

/// A disk that the program which has the shim (`environment()` for /usr/bin/env) finds slow, or stuck.
class SlowDisk {
public:
  /// `file` is made.
  SlowDisk(std::string file, const std::string& part) : file_{std::move(file)} {
    const int opened = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void* mapped = MAP_FAILED;
    if (opened >= 0 && ::ftruncate(opened, sizeof(DiskOrder)) == 0)
      mapped = ::mmap(nullptr, sizeof(DiskOrder), PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    ::close(opened);
    if (mapped == MAP_FAILED || part.size() >= sizeof(DiskOrder::part)) throw std::runtime_error("no disk order");
    order_ = new (mapped) DiskOrder{};
    std::memcpy(order_->part, part.c_str(), part.size() + 1);
  }
  SlowDisk(const SlowDisk&) = delete;
  SlowDisk& operator=(const SlowDisk&) = delete;
  ~SlowDisk() { ::munmap(order_, sizeof(DiskOrder)); }

  std::string environment() const { return std::string(disk_order_variable) + "=" + file_; }
  void hold(std::uint32_t kinds) {
    order_->hold = 1;
    order_->kinds = kinds;
  }
  void slow_down(std::uint32_t kinds, std::uint64_t delay_us) {
    order_->delay_us = delay_us;
    order_->kinds = kinds;
  }
  void let_go() {
    order_->kinds = 0;
    order_->hold = 0;
    order_->delay_us = 0;
  }
  std::uint32_t held() const { return order_->held; }
  std::uint64_t slowed() const { return order_->slowed; }

private:
  const std::string file_;
  DiskOrder* order_ = nullptr;
};

}  // namespace pageserver::test
