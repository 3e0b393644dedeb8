// Renews the leases of a process, on one thread that waits for none of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "storage/objects/object_file.hpp"

namespace pageserver::storage {

/// Threads: any. The thread begins with the first lease.
class LeaseKeeper {
public:
  LeaseKeeper(std::uint32_t lease_ms, std::uint32_t renew_ms);
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;
  ~LeaseKeeper();

  /// Keeps the owner's lock, which was asked for at `asked_ns` (HomeLease::now_ns()).
  void keep(std::shared_ptr<ObjectFolder> folder, ObjectOwnerRef owner, std::int64_t asked_ns);
  void forget(const ObjectOwnerRef& owner);

private:
  struct Kept;

  void run();

  const std::uint32_t lease_ms_;
  const std::uint32_t renew_ms_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::shared_ptr<Kept>> kept_ PAGESERVER_GUARDED_BY(mutex_);
  bool ended_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::thread thread_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::storage
