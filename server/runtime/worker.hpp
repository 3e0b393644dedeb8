// A thread with an event loop. Everything that belongs to it runs on it, so nothing of it needs a lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/runtime/thread_room.hpp"

namespace asio {
class io_context;
}

namespace pageserver::server {

class Log;

/// Room for one posted task, made beforehand: what must be said even when there is no memory is posted in here.
class PostRoom {
public:
  PostRoom() = default;
  PostRoom(const PostRoom&) = delete;
  PostRoom& operator=(const PostRoom&) = delete;

private:
  friend class Worker;
  friend struct RoomTask;
  static constexpr std::size_t bytes = 256;
  std::atomic<bool> posted_{false};
  alignas(std::max_align_t) std::byte room_[bytes];
};

/// For a task whose object outlives the worker's loop.
inline std::shared_ptr<void> not_owned(void* object) noexcept { return {std::shared_ptr<void>(), object}; }

class Worker {
public:
  /// `log` outlives the worker. An exception that escapes a task is logged there, and the loop goes on. Takes all the
  /// descriptors that the loop needs, or throws std::system_error.
  Worker(std::string name, Log& log);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Stops and joins first.
  ~Worker();

  /// Before start() or run(): `task` runs on the loop after an exception escaped a handler. It begins again what that
  /// handler may have left out, such as the next wait. Where it throws it is run once more a moment later.
  void after_trouble(std::function<void()> task) { after_trouble_.push_back(std::move(task)); }
  /// Runs the loop on a thread of its own until stop(). Throws std::system_error when there is no thread to be had.
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
  /// The same without an allocation, so that it can't fail. `object` is kept until `task` has run with it, and keeps
  /// `room`. While one task is in `room` another is not posted: whatever it finds to do, the first one does.
  void post_in(PostRoom& room, std::shared_ptr<void> object, void (*task)(void* object)) noexcept;
  bool is_this_thread() const noexcept { return std::this_thread::get_id() == thread_id_; }

  asio::io_context& context() noexcept { return *context_; }

private:
  void run_all();
  void recover();

  std::string name_;
  Log& log_;
  std::unique_ptr<asio::io_context> context_;
  std::vector<std::function<void()>> after_trouble_;
  ThreadRoomPtr room_;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_{};  ///< of whoever runs the loop
};

}  // namespace pageserver::server
