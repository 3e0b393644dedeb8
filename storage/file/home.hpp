// What a home of files has that is beyond this machine: others may take it over, and its owner is told.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/mutex.hpp"

namespace pageserver::storage {

/// The errno of every call on files whose owner this process is no longer: another one has taken them over. Stays so
/// for as long as the file is locked here. No call of an operating system's files says it.
inline constexpr int taken_over_error = 128;  // EKEYREVOKED

/// The magic number (FileSystem::file_system_type) of homes that are pools of objects: no operating system's.
inline constexpr std::int64_t objects_magic = 0x50534F42;

/// The right of a process to answer for what it has locked. It ends by itself unless it is renewed, by a clock that
/// goes on while the machine sleeps.
///
/// Threads: any.
class HomeLease {
public:
  /// By now_ns(): until then nobody else can have taken it over.
  bool may_answer() const noexcept { return now_ns() < valid_until_ns_.load(std::memory_order_acquire); }
  /// Another has taken it over, for good.
  bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  /// Once it is lost: why, and to whom where that is known.
  std::string why() const;

  /// Returns once it may answer again or is lost, or when the time is over.
  void await_verdict(std::chrono::milliseconds time) const;

  void renew(std::int64_t until_ns) noexcept;
  /// The first call's reason stays.
  void lose(std::string why) noexcept;

  /// CLOCK_BOOTTIME in nanoseconds.
  static std::int64_t now_ns() noexcept;

private:
  std::atomic<std::int64_t> valid_until_ns_{0};
  std::atomic<bool> lost_{false};
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::string why_ PAGESERVER_GUARDED_BY(mutex_);
};

/// Of a locked file: see FileSystem::home_of().
struct FileHome {
  std::shared_ptr<const HomeLease> lease;  ///< null: the lock can't be taken away
  std::string holder;                      ///< who has the lock, or empty
};

}  // namespace pageserver::storage
