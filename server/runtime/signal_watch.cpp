#include "server/runtime/signal_watch.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace pageserver::server {

namespace {

sigset_t watched() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

void SignalWatch::block() {
  const sigset_t signals = watched();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

SignalWatch::SignalWatch(std::function<void(int number)> on_signal) : on_signal_(std::move(on_signal)) {
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
  for (;;) {
    int number = 0;
    if (::sigwait(&signals, &number) != 0) continue;
    if (ending_) return;
    on_signal_(number);
  }
}

}  // namespace pageserver::server
