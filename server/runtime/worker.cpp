#include "server/runtime/worker.hpp"

#include <pthread.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "server/runtime/log.hpp"

namespace pageserver::server {

namespace {

// How long a loop waits before it tries again what failed for want of memory or descriptors.
constexpr std::chrono::milliseconds trouble_pause{20};

/// Hands out the one block of a room. Asio frees it before it runs the task.
template <class T>
struct RoomAllocator {
  using value_type = T;
  explicit RoomAllocator(std::byte* start, std::atomic<bool>* posted) noexcept : room(start), taken(posted) {}
  template <class Other>
  RoomAllocator(const RoomAllocator<Other>& other) noexcept : room(other.room), taken(other.taken) {}
  T* allocate(std::size_t) const noexcept { return reinterpret_cast<T*>(room); }
  void deallocate(T*, std::size_t) const noexcept { taken->store(false); }
  template <class Other>
  bool operator==(const RoomAllocator<Other>& other) const noexcept {
    return room == other.room;
  }

  std::byte* room;
  std::atomic<bool>* taken;
};

}  // namespace

struct RoomTask {
  using allocator_type = RoomAllocator<std::byte>;
  allocator_type get_allocator() const noexcept { return allocator_type(room->room_, &room->posted_); }
  void operator()() const { run(object.get()); }

  PostRoom* room;
  std::shared_ptr<void> object;
  void (*run)(void*);
};

Worker::Worker(std::string name, Log& log)
    : name_(std::move(name)), log_(log), context_(std::make_unique<asio::io_context>(1)), room_(make_thread_room()) {
  // Asio makes its epoll and its timer when the first of these is made. Here nobody else knows this worker yet.
  const asio::steady_timer timer(*context_);
  const asio::posix::stream_descriptor descriptor(*context_);
}

Worker::~Worker() {
  stop();
  join();
}

void Worker::start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
    run();
  });
}

void Worker::run() {
  thread_id_ = std::this_thread::get_id();
  const UsedThreadRoom room(*room_);
  const auto work = asio::make_work_guard(*context_);
  run_all();
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
  thread_id_ = std::this_thread::get_id();
  const UsedThreadRoom room(*room_);
  context_->restart();
  context_->poll();
}

void Worker::post(std::function<void()> task) { asio::post(*context_, std::move(task)); }

void Worker::post_in(PostRoom& room, std::shared_ptr<void> object, void (*task)(void* object)) noexcept {
  // What asio keeps beside the task: the next one's address, two functions, the allocator.
  static_assert(sizeof(RoomTask) + 10 * sizeof(void*) <= PostRoom::bytes);
  if (!room.posted_.exchange(true)) asio::post(*context_, RoomTask{&room, std::move(object), task});
}

}  // namespace pageserver::server
