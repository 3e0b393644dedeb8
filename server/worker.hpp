// A thread with an event loop. Everything that belongs to it runs on it, so nothing of it needs a lock.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace asio {
class io_context;
}

namespace pageserver::server {

class Log;

class Worker {
public:
  /// `log` outlives the worker. An exception that escapes a task is logged there, and the loop goes on.
  Worker(std::string name, Log& log);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Stops and joins first.
  ~Worker();

  /// Runs the loop on a thread of its own until stop().
  void start();
  /// Runs the loop on the calling thread until stop().
  void run();
  /// From any thread: the loop ends after the handler that runs now. What is posted
  /// later runs in drain().
  void stop();
  /// Waits for the thread of start(), then drains.
  void join();
  /// After the loop has ended: runs what was still posted, on the calling thread, so that nothing in the queue keeps
  /// alive what keeps this worker alive.
  void drain();

  /// From any thread: runs `task` on the loop, after what was posted before.
  void post(std::function<void()> task);
  bool is_this_thread() const noexcept { return std::this_thread::get_id() == thread_id_; }

  asio::io_context& context() noexcept { return *context_; }

private:
  void run_all();

  std::string name_;
  Log& log_;
  std::unique_ptr<asio::io_context> context_;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_{};  ///< of whoever runs the loop
};

}  // namespace pageserver::server
