// SIGTERM, SIGINT and SIGHUP, heard whatever the daemon's other threads are doing.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace pageserver::server {

/// Calls back on a thread of its own for each SIGTERM, SIGINT and SIGHUP, and when what the first of the first two
/// asked for takes too long. Once it runs it takes no memory.
class SignalWatch {
public:
  /// Blocks these signals on the calling thread and on those that it starts later. Call it before any thread is
  /// started: on a thread where they are not blocked they end the process as always.
  static void block();

  /// Both may be called until the destructor returns; `on_overdue` once, so long after the first SIGTERM or SIGINT.
  /// Throws std::system_error when no thread can be had.
  SignalWatch(std::function<void(int number)> on_signal, std::chrono::milliseconds patience,
              std::function<void()> on_overdue);
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch();

private:
  void watch();

  std::function<void(int number)> on_signal_;
  const std::chrono::milliseconds patience_;
  std::function<void()> on_overdue_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace pageserver::server
