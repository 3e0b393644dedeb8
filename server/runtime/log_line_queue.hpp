// Lines on their way to a descriptor that may not take them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace pageserver::server {

/// Writes lines to a descriptor from a thread of its own. Whoever reads the other end may stall: push() never waits for
/// it. At most `bytes_max` wait; what comes on top is dropped and counted, and so is what the descriptor refuses.
class LogLineQueue {
public:
  /// Formats the line that says how many lines were dropped. Runs on the queue's thread.
  using Notice = std::function<std::string(std::uint64_t dropped)>;

  /// Throws std::system_error when no thread can be had.
  LogLineQueue(int descriptor, std::size_t bytes_max, Notice notice);
  LogLineQueue(const LogLineQueue&) = delete;
  LogLineQueue& operator=(const LogLineQueue&) = delete;
  /// Waits for what is queued as drain() does, for at most a second. A thread that is still blocked in a write then is
  /// left behind; it touches nothing but its own memory and ends with the process.
  ~LogLineQueue();

  /// From any thread. `line` ends with its newline.
  void push(std::string line) noexcept;
  /// From any thread: counts a line that could not even be made.
  void drop() noexcept;
  /// From any thread: lines that were dropped since the beginning.
  std::uint64_t dropped() const noexcept;
  /// Returns once all that was pushed before is written, or `limit` is over.
  void drain(std::chrono::milliseconds limit) noexcept;

private:
  struct State;
  static void write_lines(const std::shared_ptr<State>& state) noexcept;

  std::shared_ptr<State> state_;
};

}  // namespace pageserver::server
