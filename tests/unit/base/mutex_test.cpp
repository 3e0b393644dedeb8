#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "tests/support/catch.hpp"

namespace pageserver {
namespace {

class Turns {
public:
  /// Waits for its turn, by the caller's lock or by the mutex alone, and hands the turn on.
  void take(int turn, bool by_lock) PAGESERVER_EXCLUDES(mutex_) {
    Lock lock{mutex_};
    const auto is_mine = [&]() PAGESERVER_REQUIRES(mutex_) { return next_ == turn; };
    if (by_lock)
      changed_.wait(lock, is_mine);
    else
      changed_.wait(mutex_, is_mine);
    ++next_;
    changed_.notify_all();
  }
  int next() PAGESERVER_EXCLUDES(mutex_) {
    const Lock lock{mutex_};
    return next_;
  }

private:
  Mutex mutex_;
  CondVar changed_;
  int next_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

bool is_free(Mutex& mutex) {
  bool free = false;
  std::thread{[&] {
    if (!mutex.try_lock()) return;
    free = true;
    mutex.unlock();
  }}.join();
  return free;
}

}  // namespace

TEST_CASE("threads take turns, whichever way they wait") {
  Turns turns;
  constexpr int count = 40;
  std::vector<std::thread> threads;
  for (int turn = count - 1; turn >= 0; --turn)
    threads.emplace_back([&turns, turn] { turns.take(turn, turn % 2 == 0); });
  for (auto& thread : threads) thread.join();
  CHECK(turns.next() == count);
}

TEST_CASE("a lock holds its mutex but for the time between unlock and lock") {
  Mutex mutex;
  {
    Lock lock{mutex};
    CHECK(lock.owns_lock());
    CHECK_FALSE(is_free(mutex));
    lock.unlock();
    CHECK_FALSE(lock.owns_lock());
    CHECK(is_free(mutex));
    lock.lock();
    CHECK_FALSE(is_free(mutex));
  }
  CHECK(is_free(mutex));
}

TEST_CASE("a function that lets go of its caller's mutex holds it again when it throws") {
  Mutex mutex;
  Lock lock{mutex};
  const auto throws = [&]() PAGESERVER_REQUIRES(mutex) {
    const Unlocked unlocked{mutex};
    CHECK(is_free(mutex));
    throw std::runtime_error{"on the way"};
  };
  CHECK_THROWS_AS(throws(), std::runtime_error);
  CHECK_FALSE(is_free(mutex));
  CHECK(lock.owns_lock());
}

TEST_CASE("a wait that ends by its deadline holds the mutex and says so") {
  Mutex mutex;
  CondVar changed;
  Lock lock{mutex};
  const auto past = std::chrono::steady_clock::now() - std::chrono::seconds{1};
  CHECK_FALSE(changed.wait_until(lock, past, [] { return false; }));
  CHECK_FALSE(is_free(mutex));
  CHECK_FALSE(changed.wait_until(mutex, past, [] { return false; }));
  CHECK_FALSE(is_free(mutex));
  CHECK_FALSE(changed.wait_for(lock, std::chrono::seconds{-1}, [] { return false; }));
  CHECK(changed.wait_for(lock, std::chrono::hours{1}, [] { return true; }));
  CHECK_FALSE(is_free(mutex));
}

TEST_CASE("a predicate that throws leaves the mutex held") {
  Mutex mutex;
  CondVar changed;
  Lock lock{mutex};
  const auto throws = []() -> bool { throw std::runtime_error{"in the predicate"}; };
  CHECK_THROWS_AS(changed.wait(mutex, throws), std::runtime_error);
  CHECK_FALSE(is_free(mutex));
  CHECK_THROWS_AS(changed.wait(lock, throws), std::runtime_error);
  CHECK_FALSE(is_free(mutex));
}

}  // namespace pageserver
