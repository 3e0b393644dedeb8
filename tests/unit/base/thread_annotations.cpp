// Compiled by clang alone, as it is and with each BREACH: the first has no warning, and each of the others has one.
#include "base/mutex.hpp"

namespace pageserver {

class Counter {
public:
  void add() PAGESERVER_EXCLUDES(mutex_) {
    Lock lock{mutex_};
    ++count_;
    changed_.wait(lock, [&]() PAGESERVER_REQUIRES(mutex_) { return count_ > 0; });
    lock.unlock();
    lock.lock();
    drive();
  }

private:
  void drive() PAGESERVER_REQUIRES(mutex_) {
    {
      const Unlocked unlocked{mutex_};
#if BREACH == 1
      ++count_;  // while the mutex is let go
#endif
    }
    changed_.wait(mutex_);
    ++count_;
  }
  void breach() {
#if BREACH == 2
    ++count_;  // without the mutex
#elif BREACH == 3
    drive();  // which wants it held
#elif BREACH == 4
    const Lock lock{mutex_};
    add();  // which takes it itself
#elif BREACH == 5
    mutex_.lock();  // and never gives it back
#elif BREACH == 6
    const Lock lock{mutex_};
    const auto later = [this] { ++count_; };  // may run when nobody holds it
    later();
#elif BREACH == 7
    Lock lock{mutex_};
    lock.unlock();
    ++count_;  // after it was given back
#elif BREACH == 8
    ++calls_;  // without the recursive one
#endif
    const RecursiveLock calling{calls_mutex_};
    ++calls_;
  }

  Mutex mutex_;
  CondVar changed_;
  int count_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  RecursiveMutex calls_mutex_;
  int calls_ PAGESERVER_GUARDED_BY(calls_mutex_) = 0;
};

}  // namespace pageserver
