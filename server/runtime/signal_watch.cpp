#include "server/runtime/signal_watch.hpp"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace pageserver::server {

namespace {

sigset_t watched() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

using Clock = std::chrono::steady_clock;

/// The signal, or -1: none came until then, or the wait was interrupted.
int wait_until(const sigset_t& signals, Clock::time_point moment) {
  using std::chrono::nanoseconds;
  const nanoseconds left = std::max(nanoseconds{0}, std::chrono::ceil<nanoseconds>(moment - Clock::now()));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
  timespec time{};
  time.tv_sec = seconds.count();
  time.tv_nsec = (left - seconds).count();
  return ::sigtimedwait(&signals, nullptr, &time);
}

}  // namespace

void SignalWatch::block() {
  const sigset_t signals = watched();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

SignalWatch::SignalWatch(std::function<void(int number)> on_signal, std::chrono::milliseconds patience,
                         std::function<void()> on_overdue)
    : on_signal_(std::move(on_signal)), patience_(patience), on_overdue_(std::move(on_overdue)) {
  thread_ = std::thread([this] { watch(); });
}

SignalWatch::~SignalWatch() {
  ending_ = true;
  // The thread waits for this signal and ends in order. NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread)
  ::pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void SignalWatch::watch() {
  ::pthread_setname_np(::pthread_self(), "signals");
  const sigset_t signals = watched();
  std::optional<Clock::time_point> overdue_at;
  bool asked = false;
  for (;;) {
    const int number = overdue_at ? wait_until(signals, *overdue_at) : ::sigwaitinfo(&signals, nullptr);
    if (ending_) return;
    if (number == SIGHUP) {
      on_signal_(number);
    } else if (number > 0) {
      if (!std::exchange(asked, true)) overdue_at = Clock::now() + patience_;
      on_signal_(number);
    } else if (overdue_at && Clock::now() >= *overdue_at) {
      overdue_at.reset();
      on_overdue_();
    }
  }
}

}  // namespace pageserver::server
