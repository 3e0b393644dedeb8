// A thread with an event loop. What belongs to it runs on it, and needs no lock; but where a loop is looked after, see
// Loops, other threads help out while its own is stuck in a call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.hpp"
#include "server/runtime/stuck.hpp"
#include "server/runtime/thread_room.hpp"

namespace asio {
class io_context;
}

namespace pageserver::server {

class Log;
class Ticker;

/// What Asio needs for a posted task of a PostRoom: the task, and beside it an address, two functions, the allocator.
inline constexpr std::size_t post_room_bytes = 80;

/// Room for one posted task, made beforehand: what must be said even when there is no memory is posted in here.
class PostRoom {
public:
  PostRoom() = default;
  PostRoom(const PostRoom&) = delete;
  PostRoom& operator=(const PostRoom&) = delete;

private:
  friend class Worker;
  friend struct RoomTask;
  alignas(void*) std::byte room_[post_room_bytes];
  std::atomic<bool> posted_{false};
};

/// Calls of one store, say, in which threads of the loops are stuck. Lives as long as the loops do.
class StuckCalls {
public:
  std::size_t count() const noexcept { return count_; }

private:
  friend class Worker;
  friend class Loops;
  void change(std::size_t by) noexcept {
    count_ += by;
    if (disk_ != nullptr) disk_->count_ += by;
  }
  std::atomic<std::size_t> count_{0};
  StuckCalls* disk_ = nullptr;  ///< in which they are counted as well
};

/// For a task whose object outlives the worker's loop.
inline std::shared_ptr<void> not_owned(void* object) noexcept { return {std::shared_ptr<void>(), object}; }

class Worker {
  struct Runner;

public:
  /// Around a handler that may be stuck in a call, so that it is seen, and counted among those of `calls`, which may be
  /// null. Costs next to nothing; one inside another counts as one.
  class Busy {
  public:
    explicit Busy(StuckCalls* calls = nullptr) noexcept;
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy();

  private:
    Runner* runner_;
  };

  /// `log` outlives the worker. An exception that escapes a task is logged there, and the loop goes on. Takes all the
  /// descriptors that the loop needs, or throws std::system_error.
  /// `number`: of the thread that runs it, see base/thread_number.hpp.
  Worker(std::string name, Log& log, std::optional<std::size_t> number = {});
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

  /// From any thread: runs `task` on the loop. It begins after what was posted before has begun; where other threads
  /// help out the two may overlap, and what depends on the order has to see to it (Turn).
  void post(std::function<void()> task);
  /// The same without an allocation, so that it can't fail. `object` is kept until `task` has run with it, and keeps
  /// `room`. While one task is in `room` another is not posted: whatever it finds to do, the first one does.
  void post_in(PostRoom& room, std::shared_ptr<void> object, void (*task)(void* object)) noexcept;

  enum class Haste : std::uint8_t {
    usual,
    prompt,   ///< takes a processor for short turns, and gets it the sooner
    patient,  ///< gives way to others that want the same processor
  };
  /// Before start(): how its thread shares a processor with others of this machine.
  void share_processor(Haste haste) noexcept { haste_ = haste; }
  /// Before start(): look() is called by the ticker, which outlives the worker.
  void be_looked_after(Ticker& ticker) noexcept { ticker_ = &ticker; }
  struct Look {
    bool held = false;   ///< a thread has been in one handler for a millisecond and more
    bool moved = false;  ///< something runs, or ran since the last look
    bool stuck = false;  ///< every thread that runs the loop is stuck: call help() on another, or help_failed()
  };
  /// The ticker's thread: each millisecond while something is held up, else less often.
  Look look() noexcept;
  void help_failed() noexcept { help_awaited_ = false; }
  /// Any thread: what its threads are stuck in, on behalf of `calls`, or of whatever where that is null.
  Stuck stuck(const StuckCalls* calls) noexcept;
  /// On a thread of the pool: runs the loop until the worker's own thread is back.
  void help(ThreadRoom& room) noexcept;
  /// The calling thread runs this loop.
  bool is_here() const noexcept;

  asio::io_context& context() noexcept { return *context_; }
  /// Connections that poll on this loop: the more they are, the sooner each of them gives way.
  std::atomic<int>& polling() noexcept { return polling_; }

private:
  void run_all();
  void recover();
  bool is_still_needed(const Runner& helper);
  /// A call by which the thread asks for its turns.
  void say_refused(std::string_view call) const;

  std::string name_;
  Log& log_;
  const std::optional<std::size_t> number_;
  Haste haste_ = Haste::usual;
  std::unique_ptr<asio::io_context> context_;
  std::vector<std::function<void()>> after_trouble_;
  ThreadRoomPtr room_;
  std::atomic<int> polling_{0};
  Ticker* ticker_ = nullptr;
  Mutex runners_mutex_;
  Runner* runners_ PAGESERVER_GUARDED_BY(runners_mutex_) =
      nullptr;                                ///< the worker's own thread, then those that help; the first of a list
  std::atomic<std::uint64_t> stuck_beat_{0};  ///< of the worker's own thread, in the call that it is stuck in
  std::atomic<bool> help_awaited_{false};
  std::thread thread_;
};

}  // namespace pageserver::server
