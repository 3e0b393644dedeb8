// Waiting for what a pool carries out on its own threads.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/mutex.hpp"
#include "storage/objects/object_pool.hpp"

namespace pageserver::storage {

/// Several operations, and the first error among them. Made by make_shared(): an operation keeps it.
class ObjectWaits : public std::enable_shared_from_this<ObjectWaits> {
public:
  /// To be handed to one operation. `ignored` is an error that counts as success.
  ObjectPool::Done one(int ignored = 0) {
    const Lock lock{mutex_};
    ++under_way_;
    return [self = shared_from_this(), ignored](int error) { self->landed(error == ignored ? 0 : error); };
  }
  using Moment = std::chrono::steady_clock::time_point;
  /// Waits until at most `count` are under way.
  void wait_for_few(std::size_t count) {
    Lock lock{mutex_};
    changed_.wait(lock, [&]() PAGESERVER_REQUIRES(mutex_) { return under_way_ <= count; });
  }
  /// The first error; 0: all is done.
  int wait() {
    wait_for_few(0);
    const Lock lock{mutex_};
    return error_;
  }
  /// The same; ETIMEDOUT where some are still under way at `deadline`, if there is one.
  int wait(const std::optional<Moment>& deadline) {
    if (!deadline) return wait();
    Lock lock{mutex_};
    const bool all =
        changed_.wait_until(lock, *deadline, [&]() PAGESERVER_REQUIRES(mutex_) { return under_way_ == 0; });
    return all ? error_ : ETIMEDOUT;
  }

private:
  void landed(int error) {
    const Lock lock{mutex_};
    --under_way_;
    if (error_ == 0) error_ = error;
    changed_.notify_all();
  }

  Mutex mutex_;
  CondVar changed_;
  std::size_t under_way_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  int error_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

/// Calls `begin(done)` and waits for `done`: returns its error.
template <class Begin>
int waited(const Begin& begin) {
  const auto waits = std::make_shared<ObjectWaits>();
  begin(waits->one());
  return waits->wait();
}

/// Operations of which the ends come in any order. Whoever waits, waits for those that had begun by then.
class ObjectQueue {
public:
  std::uint64_t begin() {
    const Lock lock{mutex_};
    ended_.push_back(false);
    return first_ + ended_.size() - 1;
  }
  void end(std::uint64_t number) {
    const Lock lock{mutex_};
    ended_[static_cast<std::size_t>(number - first_)] = true;
    for (; !ended_.empty() && ended_.front(); ++first_) ended_.pop_front();
    changed_.notify_all();
  }
  void wait() {
    Lock lock{mutex_};
    const std::uint64_t until = first_ + ended_.size();
    changed_.wait(lock, [&]() PAGESERVER_REQUIRES(mutex_) { return first_ >= until; });
  }
  bool empty() {
    const Lock lock{mutex_};
    return ended_.empty();
  }

private:
  Mutex mutex_;
  CondVar changed_;
  std::uint64_t first_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::deque<bool> ended_ PAGESERVER_GUARDED_BY(mutex_);
};

/// Bytes under way of all files of a pool, so that a slow pool does not fill the memory. Where some stores' have all of
/// it, since what they are written to does not answer, each file of the others still has a little.
class ObjectRoom {
public:
  /// What one file has of it. Guarded by the room's mutex.
  struct Part {
    std::uint64_t bytes = 0;
  };

  /// Of all; and of each file, at least and at most.
  ObjectRoom(std::uint64_t bytes_max, std::uint64_t part_bytes_min, std::uint64_t part_bytes_max)
      : bytes_max_{bytes_max}, part_bytes_min_{part_bytes_min}, part_bytes_max_{part_bytes_max} {}
  /// Waits while there is too much under way. One that is larger than all goes alone.
  void take(Part& part, std::uint64_t bytes) {
    bytes = std::max(bytes, operation_bytes_min);
    Lock lock{mutex_};
    changed_.wait(lock, [&]() PAGESERVER_REQUIRES(mutex_) {
      if (part.bytes == 0 || part.bytes + bytes <= part_bytes_min_) return true;
      return bytes_ + bytes <= bytes_max_ && part.bytes + bytes <= part_bytes_max_;
    });
    bytes_ += bytes;
    part.bytes += bytes;
  }
  void give_back(Part& part, std::uint64_t bytes) {
    bytes = std::max(bytes, operation_bytes_min);
    const Lock lock{mutex_};
    bytes_ -= bytes;
    part.bytes -= bytes;
    changed_.notify_all();
  }

private:
  /// What a small operation counts as: it takes its time in the pool all the same, and whoever comes later waits for
  /// all.
  static constexpr std::uint64_t operation_bytes_min = 32768;
  const std::uint64_t bytes_max_;
  const std::uint64_t part_bytes_min_;
  const std::uint64_t part_bytes_max_;
  Mutex mutex_;
  CondVar changed_;
  std::uint64_t bytes_ PAGESERVER_GUARDED_BY(mutex_) = 0;
};

}  // namespace pageserver::storage
