// A thread that looks after others while they have something to do, and sleeps while nobody has.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace pageserver::server {

/// Who is looked after. look() is called about once a step, from the ticker's thread alone.
class Ticked {
public:
  Ticked() = default;
  Ticked(const Ticked&) = delete;
  Ticked& operator=(const Ticked&) = delete;
  virtual ~Ticked() = default;

  /// True while there is something to look after. May not wait, nor call add() or remove().
  virtual bool look() noexcept = 0;
};

/// Whoever begins to have something to be looked after calls wake(). After some looks at which nobody had, the thread
/// sleeps, so that an idle daemon stays idle.
class Ticker {
public:
  /// Throws std::system_error when there is no thread to be had.
  explicit Ticker(std::chrono::microseconds step);
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;
  ~Ticker();

  void add(Ticked& ticked);
  /// Once it returns, `ticked` is looked at no more.
  void remove(Ticked& ticked) noexcept;
  /// Any thread: there is a look soon, and at once where the thread slept. What look() reads is written before, by a
  /// sequentially consistent store. Cheap while the thread is awake.
  void wake() noexcept {
    if (asleep_.load()) wake_up();
  }

private:
  void run();
  bool look_at_all();
  void wake_up() noexcept;

  const std::chrono::microseconds step_;
  std::mutex ticked_mutex_;  ///< held during the looks
  std::vector<Ticked*> ticked_;
  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pageserver::server
