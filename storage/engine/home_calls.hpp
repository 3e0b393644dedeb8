// Calls on a store whose home is beyond this machine: that may not answer, for as long as it likes. A session is
// answered in time all the same.
//
//   the session's thread            a thread of its own                  the home
//   begin(body) ------------------> body ------------------------------> ...
//   wait_until(deadline): false                                          stands still
//   timed_out, as all further calls
//   of that session                 ends: what it did takes effect <---- answers
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>

#include "base/mutex.hpp"
#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// Threads: any. Those that it begins end by themselves once there was nothing to do for some time.
class HomeCalls {
public:
  using Clock = std::chrono::steady_clock;

  /// One call. It may outlive whoever began it.
  class Call {
  public:
    /// False: it goes on.
    bool wait_until(Clock::time_point deadline);
    bool has_ended();
    /// Once it has ended: throws what it threw.
    void check();

  private:
    friend class HomeCalls;
    void run() noexcept;

    std::function<void()> body_;  ///< of the thread that runs it
    Mutex mutex_;
    CondVar changed_;
    bool ended_ PAGESERVER_GUARDED_BY(mutex_) = false;
    std::exception_ptr error_ PAGESERVER_GUARDED_BY(mutex_);
  };
  using CallRef = std::shared_ptr<Call>;

  /// `time`: how long a session waits. `late`: what it is told then; called on any thread, until stop().
  HomeCalls(std::chrono::milliseconds time, std::function<std::exception_ptr()> late);
  HomeCalls(const HomeCalls&) = delete;
  HomeCalls& operator=(const HomeCalls&) = delete;
  /// As stop().
  ~HomeCalls();

  Clock::time_point deadline() const { return Clock::now() + time_; }

  /// Runs `body`, which owns all that it uses, on another thread; or on this one, where there is none to be had.
  CallRef begin(std::function<void()> body);
  /// A flush of the session has begun. Where its callback has not run in time, it runs with what is told who is late:
  /// see SessionCallbacks::expire().
  void watch(const SessionRef& state);
  /// Waits for the calls that are under way. From then on the threads use nothing but what they share, and nothing may
  /// be begun any more.
  void stop() noexcept;

private:
  struct Shared;

  const std::chrono::milliseconds time_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace pageserver::storage
