// SIGTERM and SIGINT, heard whatever the daemon's other threads are doing.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace pageserver::server {

/// Calls back on a thread of its own for each SIGTERM and SIGINT.
class SignalWatch {
public:
  /// Blocks both signals on the calling thread and on those that it starts later. Call it before any thread is started:
  /// on a thread where they are not blocked they end the process as always.
  static void block();

  /// `on_signal` may be called until the destructor returns. Throws std::system_error when no thread can be had.
  explicit SignalWatch(std::function<void(int number)> on_signal);
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch();

private:
  void watch();

  std::function<void(int number)> on_signal_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace pageserver::server
