// A shared mutex whose writer is not kept out by a stream of readers.
#pragma once

#include <pthread.h>

namespace pageserver::storage {

/// For std::unique_lock and std::shared_lock. Unlike std::shared_mutex over glibc, a waiting writer holds up readers
/// that come after it. A thread that holds it shared must not lock it again.
class FairSharedMutex {
public:
  FairSharedMutex() noexcept {
    pthread_rwlockattr_t attributes;
    ::pthread_rwlockattr_init(&attributes);
    ::pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    ::pthread_rwlock_init(&lock_, &attributes);
    ::pthread_rwlockattr_destroy(&attributes);
  }
  FairSharedMutex(const FairSharedMutex&) = delete;
  FairSharedMutex& operator=(const FairSharedMutex&) = delete;
  ~FairSharedMutex() { ::pthread_rwlock_destroy(&lock_); }

  void lock() noexcept { ::pthread_rwlock_wrlock(&lock_); }
  bool try_lock() noexcept { return ::pthread_rwlock_trywrlock(&lock_) == 0; }
  void unlock() noexcept { ::pthread_rwlock_unlock(&lock_); }
  void lock_shared() noexcept { ::pthread_rwlock_rdlock(&lock_); }
  bool try_lock_shared() noexcept { return ::pthread_rwlock_tryrdlock(&lock_) == 0; }
  void unlock_shared() noexcept { ::pthread_rwlock_unlock(&lock_); }

private:
  pthread_rwlock_t lock_;
};

}  // namespace pageserver::storage
