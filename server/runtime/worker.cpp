#include "server/runtime/worker.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "base/clock.hpp"
#include "base/thread_number.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/thread_state.hpp"
#include "server/runtime/ticker.hpp"
#include "server/runtime/time_slice.hpp"

namespace pageserver::server {

namespace {

// How long a loop waits before it tries again what failed for want of memory or descriptors.
constexpr std::chrono::milliseconds trouble_pause{20};
// A thread that helps looks so often whether it is still needed.
constexpr std::chrono::milliseconds help_step{20};
// Who has been in one handler for so long may be stuck. A turn of a connection ends sooner.
constexpr std::int64_t long_ns = 1'000'000;
// A handler that computes for so many looks is taken for stuck, too.
constexpr int looks_computing_max = 16;

// Of a prompt worker: half of a connection's turn. The kernel's own turns take milliseconds, and a reader whose
// processor a writer has would wait for the end of one.
constexpr std::chrono::microseconds prompt_slice{100};
// Of a patient one: so that a reader beside a writer that asks for much has its p99 within 2 ms. Without it 2.5 ms,
// with 3 the bar is just missed, and 10 would leave a writer little where other programs want the processor too.
constexpr int patience = 5;  // added to nice(2)

/// Hands out the one block of a room. Asio frees it before it runs the task.
template <class T>
struct RoomAllocator {
  using value_type = T;
  explicit RoomAllocator(std::byte* start, std::atomic<bool>* posted) noexcept : room(start), taken(posted) {}
  template <class Other>
  RoomAllocator(const RoomAllocator<Other>& other) noexcept : room(other.room), taken(other.taken) {}
  T* allocate(std::size_t) const noexcept {
    static_assert(sizeof(T) <= post_room_bytes);
    static_assert(alignof(T) <= alignof(void*));
    return reinterpret_cast<T*>(room);
  }
  void deallocate(T*, std::size_t) const noexcept { taken->store(false); }
  template <class Other>
  bool operator==(const RoomAllocator<Other>& other) const noexcept {
    return room == other.room;
  }

  std::byte* room;
  std::atomic<bool>* taken;
};

}  // namespace

/// A thread that runs a worker's loop.
struct Worker::Runner {
  explicit Runner(Worker& of) noexcept : worker(of) {
    const Lock lock{worker.runners_mutex_};
    *end_of(worker.runners_) = this;
    current_ = this;
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner() {
    current_ = nullptr;
    const Lock lock{worker.runners_mutex_};
    Runner** place = &worker.runners_;
    while (*place != this) place = &(*place)->next;
    *place = next;
  }
  void stop_counting() noexcept {
    if (StuckCalls* const calls_counted = counted.exchange(nullptr)) calls_counted->change(~std::size_t{0});
  }
  void count(std::uint64_t of_beat) noexcept {
    StuckCalls* const of = calls.load(std::memory_order_relaxed);
    if (of == nullptr || counted.load() != nullptr) return;
    of->change(1);
    counted = of;
    if (beat != of_beat) stop_counting();
  }
  /// Where the next one of a list belongs.
  static Runner** end_of(Runner*& first) noexcept {
    Runner** place = &first;
    while (*place != nullptr) place = &(*place)->next;
    return place;
  }

  static thread_local Runner* current_;

  Worker& worker;
  Runner* next = nullptr;
  const pid_t thread = ::gettid();
  std::atomic<std::uint64_t> beat{0};         ///< odd: in a handler
  std::atomic<std::int64_t> began_ns{0};      ///< when that began
  std::atomic<StuckCalls*> calls{nullptr};    ///< those that the handler's belong to
  std::atomic<StuckCalls*> counted{nullptr};  ///< in which it is counted
  // Of the ticker's thread.
  std::uint64_t seen_beat = 0;
  int looks = 0;       ///< in a row at which the handler that it is in had taken long
  bool stuck = false;  ///< in that handler
};

thread_local Worker::Runner* Worker::Runner::current_ = nullptr;

Worker::Busy::Busy(StuckCalls* calls) noexcept : runner_(Runner::current_) {
  if (runner_ == nullptr || runner_->worker.ticker_ == nullptr || runner_->beat % 2 != 0) {
    runner_ = nullptr;
    return;
  }
  runner_->calls.store(calls, std::memory_order_relaxed);
  runner_->began_ns.store(base::monotonic_ns(), std::memory_order_relaxed);
  ++runner_->beat;
  runner_->worker.ticker_->note();
}

// Either this sees that it was counted, or whoever counted it sees that it is over.
Worker::Busy::~Busy() {
  if (runner_ == nullptr) return;
  ++runner_->beat;
  if (runner_->counted.load() != nullptr) runner_->stop_counting();
}

struct RoomTask {
  using allocator_type = RoomAllocator<std::byte>;
  allocator_type get_allocator() const noexcept { return allocator_type(room->room_, &room->posted_); }
  void operator()() const { run(object.get()); }

  PostRoom* room;
  std::shared_ptr<void> object;
  void (*run)(void*);
};

Worker::Worker(std::string name, Log& log, std::optional<std::size_t> number)
    : name_(std::move(name)),
      log_(log),
      number_(number),
      context_(std::make_unique<asio::io_context>()),
      room_(make_thread_room()) {
  // Asio makes its epoll and its timer when the first of these is made. Here nobody else knows this worker yet.
  const asio::steady_timer timer(*context_);
  const asio::posix::stream_descriptor descriptor(*context_);
}

Worker::~Worker() {
  stop();
  join();
}

// Once for a process: each worker asks for the same.
void Worker::say_refused(std::string_view call) const {
  const int error = errno;
  static std::atomic<bool> said{false};
  if (said.exchange(true)) return;
  log_.warn("threads take their turns as they come",
            {{"call", call},
             {"error", std::error_code(error, std::generic_category()).message()},
             {"remedy",
              "allow sched_setattr and setpriority in the filter of system calls, or readers may wait for "
              "writers where processors are few"}});
}

void Worker::start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
    if (haste_ == Haste::prompt && !ask_for_short_turns(prompt_slice)) say_refused("sched_setattr");
    // On Linux of this thread alone.
    if (haste_ == Haste::patient && ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + patience) != 0)
      say_refused("setpriority");
    run();
  });
}

void Worker::run() {
  const ThreadNumber mine(number_);
  const Runner self(*this);
  const UsedThreadRoom room(*room_);
  const auto work = asio::make_work_guard(*context_);
  run_all();
}

Worker::Look Worker::look() noexcept {
  Look found;
  bool all_stuck = true;
  const std::int64_t now_ns = base::monotonic_ns();
  const Lock lock{runners_mutex_};
  for (Runner* runner = runners_; runner != nullptr; runner = runner->next) {
    const std::uint64_t beat = runner->beat;
    const bool inside = beat % 2 != 0;
    const bool same = beat == std::exchange(runner->seen_beat, beat);
    const bool held = inside && now_ns - runner->began_ns.load(std::memory_order_relaxed) >= long_ns;
    if (!same) {
      runner->looks = 0;
      runner->stuck = false;
    }
    if (held) ++runner->looks;
    // Once is enough: who waits behind it has waited for too long already.
    if (runner->looks > 0 && !runner->stuck)
      runner->stuck = runner->looks > looks_computing_max || waits_in_kernel(runner->thread);
    const bool stuck = runner->stuck;
    if (stuck) runner->count(beat);
    found.held = found.held || held;
    found.moved = found.moved || inside || !same;
    if (runner == runners_) stuck_beat_ = stuck ? beat : 0;
    if (!stuck) all_stuck = false;
  }
  if (all_stuck && runners_ != nullptr && !help_awaited_.exchange(true)) found.stuck = true;
  return found;
}

Stuck Worker::stuck(const StuckCalls* calls) noexcept {
  Stuck found;
  const std::int64_t now_ns = base::monotonic_ns();
  const Lock lock{runners_mutex_};
  for (const Runner* runner = runners_; runner != nullptr; runner = runner->next) {
    if (!runner->stuck || runner->beat != runner->seen_beat) continue;
    if (calls != nullptr && runner->calls.load(std::memory_order_relaxed) != calls) continue;
    // A handler that begins just now may be the one whose time this is.
    const std::int64_t began_ns = runner->began_ns.load(std::memory_order_relaxed);
    found.add(std::chrono::nanoseconds(std::max<std::int64_t>(0, now_ns - began_ns)));
  }
  return found;
}

bool Worker::is_still_needed(const Runner& helper) {
  const Lock lock{runners_mutex_};
  return !context_->stopped() && runners_->beat == stuck_beat_ && helper.next == nullptr;
}

bool Worker::is_here() const noexcept { return Runner::current_ != nullptr && &Runner::current_->worker == this; }

void Worker::help(ThreadRoom& room) noexcept {
  const ThreadNumber mine(number_);
  const UsedThreadRoom used(room);
  const Runner self(*this);
  help_awaited_ = false;
  while (is_still_needed(self)) {
    try {
      context_->run_one_for(help_step);
    } catch (const std::exception& error) {
      log_.error("internal error", {{"worker", name_}, {"error", error.what()}});
    }
  }
}

void Worker::run_all() {
  for (;;) {
    try {
      context_->run();
      return;
    } catch (const std::exception& error) {
      log_.error("internal error", {{"worker", name_}, {"error", error.what()}});
    }
    recover();
  }
}

void Worker::recover() {
  while (!context_->stopped()) {
    try {
      for (const auto& task : after_trouble_) task();
      return;
    } catch (const std::exception&) {
      std::this_thread::sleep_for(trouble_pause);
    }
  }
}

void Worker::stop() { context_->stop(); }

void Worker::join() {
  if (!thread_.joinable()) return;
  thread_.join();
  drain();
}

void Worker::drain() {
  const Runner self(*this);
  const UsedThreadRoom room(*room_);
  context_->restart();
  context_->poll();
}

void Worker::post(std::function<void()> task) { asio::post(*context_, std::move(task)); }

void Worker::post_in(PostRoom& room, std::shared_ptr<void> object, void (*task)(void* object)) noexcept {
  if (!room.posted_.exchange(true)) asio::post(*context_, RoomTask{&room, std::move(object), task});
}

}  // namespace pageserver::server
