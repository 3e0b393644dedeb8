// The standard library's mutex, lock and condition variable with names that clang's thread-safety analysis knows.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/thread_annotations.hpp"

namespace pageserver {

/// std::mutex.
class PAGESERVER_CAPABILITY("mutex") Mutex {
public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() PAGESERVER_ACQUIRE() { mutex_.lock(); }
  bool try_lock() PAGESERVER_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  void unlock() PAGESERVER_RELEASE() { mutex_.unlock(); }
  /// Tells clang, and nobody else, that this thread holds the mutex.
  void assert_held() const PAGESERVER_ASSERT_HELD() {}

private:
  friend class Lock;
  friend class CondVar;
  std::mutex mutex_;
};

/// Holds a mutex while it lives, but for the time between unlock() and lock(); as std::unique_lock.
///
/// clang follows a Lock within the function that made it. A function that gets one from its caller says
/// PAGESERVER_REQUIRES(mutex), and lets go for a while with Unlocked.
class PAGESERVER_SCOPED_CAPABILITY Lock {
public:
  explicit Lock(Mutex& mutex) PAGESERVER_ACQUIRE(mutex) : lock_{mutex.mutex_} {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() PAGESERVER_RELEASE() = default;

  void lock() PAGESERVER_ACQUIRE() { lock_.lock(); }
  void unlock() PAGESERVER_RELEASE() { lock_.unlock(); }
  bool owns_lock() const noexcept { return lock_.owns_lock(); }

private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

/// std::recursive_mutex: the thread that has it may take it again.
class PAGESERVER_CAPABILITY("mutex") RecursiveMutex {
public:
  RecursiveMutex() = default;
  RecursiveMutex(const RecursiveMutex&) = delete;
  RecursiveMutex& operator=(const RecursiveMutex&) = delete;

private:
  friend class RecursiveLock;
  std::recursive_mutex mutex_;
};

/// Holds a recursive mutex while it lives.
class PAGESERVER_SCOPED_CAPABILITY RecursiveLock {
public:
  explicit RecursiveLock(RecursiveMutex& mutex) PAGESERVER_ACQUIRE(mutex) : lock_{mutex.mutex_} {}
  RecursiveLock(const RecursiveLock&) = delete;
  RecursiveLock& operator=(const RecursiveLock&) = delete;
  ~RecursiveLock() PAGESERVER_RELEASE() = default;

private:
  std::lock_guard<std::recursive_mutex> lock_;
};

/// Lets go of a mutex that the caller holds, and takes it again at its end, an exception included.
class PAGESERVER_SCOPED_CAPABILITY Unlocked {
public:
  explicit Unlocked(Mutex& mutex) PAGESERVER_RELEASE(mutex) : mutex_{mutex} { mutex.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  // For clang the end of this object gives back what it stands for, the time without the mutex.
  ~Unlocked() PAGESERVER_RELEASE() { mutex_.lock(); }

private:
  Mutex& mutex_;
};

/// std::condition_variable. The mutex is held before and after each wait; predicates run under it and say so.
class CondVar {
public:
  CondVar() = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  void notify_one() noexcept { changed_.notify_one(); }
  void notify_all() noexcept { changed_.notify_all(); }

  void wait(Lock& lock) { changed_.wait(lock.lock_); }
  // Not analysed: clang can't tell that `done`'s mutex is the one that `lock` holds.
  template <class Predicate>
  void wait(Lock& lock, Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    changed_.wait(lock.lock_, std::move(done));
  }
  template <class Clock, class Duration, class Predicate>
  bool wait_until(Lock& lock, std::chrono::time_point<Clock, Duration> deadline,
                  Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    return changed_.wait_until(lock.lock_, deadline, std::move(done));
  }
  template <class Rep, class Period, class Predicate>
  bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> time,
                Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    return changed_.wait_for(lock.lock_, time, std::move(done));
  }

  /// For a function whose caller holds the mutex, by a Lock that is not at hand.
  void wait(Mutex& mutex) PAGESERVER_REQUIRES(mutex) {
    Held held{mutex.mutex_};
    changed_.wait(held.lock);
  }
  template <class Predicate>
  void wait(Mutex& mutex, Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    Held held{mutex.mutex_};
    changed_.wait(held.lock, std::move(done));
  }
  template <class Clock, class Duration, class Predicate>
  bool wait_until(Mutex& mutex, std::chrono::time_point<Clock, Duration> deadline,
                  Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    Held held{mutex.mutex_};
    return changed_.wait_until(held.lock, deadline, std::move(done));
  }

  template <class Rep, class Period, class Predicate>
  bool wait_for(Mutex& mutex, std::chrono::duration<Rep, Period> time,
                Predicate done) PAGESERVER_NO_THREAD_SAFETY_ANALYSIS {
    Held held{mutex.mutex_};
    return changed_.wait_for(held.lock, time, std::move(done));
  }

private:
  /// A mutex that is held already, and stays so: by a predicate that throws as well.
  struct Held {
    std::unique_lock<std::mutex> lock;
    explicit Held(std::mutex& mutex) : lock{mutex, std::adopt_lock} {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { (void)lock.release(); }
  };
  std::condition_variable changed_;
};

}  // namespace pageserver
