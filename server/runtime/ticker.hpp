// A thread that looks after others while they have something to do, and sleeps while nobody has.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/mutex.hpp"

namespace pageserver::server {

/// Who is looked after. look() is called from the ticker's thread alone: about once a step while something is held up,
/// else less often.
class Ticked {
public:
  enum class Looked : std::uint8_t {
    quiet,  ///< nothing since the last look
    moved,  ///< what there is goes on
    held,   ///< something has waited for about a step
  };
  Ticked() = default;
  Ticked(const Ticked&) = delete;
  Ticked& operator=(const Ticked&) = delete;
  virtual ~Ticked() = default;

  /// May not wait, nor call add() or remove().
  virtual Looked look() noexcept = 0;
};

/// Whoever begins to have something to be looked after says so. While there are only short things now and then, the
/// looks are some steps apart, and who begins one does not pay for a thread that is woken up. After a while without any
/// the thread sleeps, so that an idle daemon stays idle.
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
  /// Any thread: there is a look at once where the thread slept, else within slow_steps. What look() reads is written
  /// before, by a sequentially consistent store. Cheap unless the thread sleeps.
  void note() noexcept {
    if (pace_.load() == Pace::asleep) wake_up();
  }
  /// The same, and a look within about a step: for what somebody waits for.
  void wake() noexcept {
    if (pace_.load() != Pace::fast) wake_up();
  }

  static constexpr int slow_steps = 8;

private:
  enum class Pace : std::uint8_t { fast, slow, asleep };

  void run();
  Ticked::Looked look_at_all();
  void wake_up() noexcept;

  const std::chrono::microseconds step_;
  Mutex ticked_mutex_;  ///< held during the looks
  std::vector<Ticked*> ticked_ PAGESERVER_GUARDED_BY(ticked_mutex_);
  std::atomic<Pace> pace_{Pace::fast};
  Mutex mutex_;
  CondVar changed_;
  bool woken_ PAGESERVER_GUARDED_BY(mutex_) = false;
  bool stopping_ PAGESERVER_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pageserver::server
