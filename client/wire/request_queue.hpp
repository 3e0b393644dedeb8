// The requests of a connection that have not ended, in the order submitted.
//
//   done | in flight | done | in flight | waits | waits
//   ^ oldest                            ^ admitted      ^ next_id()
//
// Ids are consecutive, so a request is found by its id alone. Answers come in any order; a request that is done stays
// until all before it are done as well. At most as many requests and bytes as the daemon announced are in flight.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/reused_queue.hpp"
#include "client/wire/completion.hpp"
#include "client/wire/deadline.hpp"
#include "proto/wire.hpp"

namespace pageserver::client {

/// A place in the line, which is used again: add() sets what is not of sessions that can be resumed.
struct PendingRequest {
  proto::Operation operation{};
  bool done = false;
  std::span<std::byte> into;       // a read's destination
  std::size_t cost_bytes = 0;      // what it occupies at the daemon: its frame and its answer's
  std::uint64_t end_position = 0;  // of its frame in the stream of bytes sent
  std::chrono::milliseconds timeout{};
  Completion completion;
  // Of a session that can be resumed: the frame, which may have to go out once more.
  std::vector<std::byte> frame;
  std::span<const std::byte> by_reference;  ///< the rest of it, which is the caller's
};

/// Threads: one at a time.
class RequestQueue {
public:
  struct Limits {
    std::size_t requests = 1;
    std::size_t bytes = 0;
  };

  bool is_empty() const { return requests_.empty(); }
  /// Requests whose completion did not run yet.
  std::size_t outstanding() const { return outstanding_; }
  std::size_t in_flight() const { return in_flight_; }

  /// The id of the request that is added next.
  std::uint64_t next_id() const { return next_id_; }
  /// The reference lives until the next one is added.
  PendingRequest& add(proto::Operation operation, std::size_t cost_bytes, std::chrono::milliseconds timeout,
                      std::span<std::byte> into, Completion completion) {
    PendingRequest& added = requests_.push_back();
    added.operation = operation;
    added.done = false;
    added.into = into;
    added.cost_bytes = cost_bytes;
    added.end_position = 0;
    added.timeout = timeout;
    added.completion = std::move(completion);
    ++next_id_;
    ++outstanding_;
    return added;
  }
  /// Takes back the last add().
  void drop_last() {
    requests_.back().completion = nullptr;
    requests_.pop_back();
    --next_id_;
    --outstanding_;
  }

  /// True: a request added now would be admitted at once.
  bool has_room(const Limits& limits) const {
    if (admitted_ < requests_.size()) return false;
    return in_flight_ == 0 || (in_flight_ < limits.requests && in_flight_bytes_ < limits.bytes);
  }
  /// Admits those that the limits allow, but always one. Returns up to which position bytes may be sent now; nothing
  /// when none was admitted.
  std::optional<std::uint64_t> admit(const Limits& limits) {
    std::optional<std::uint64_t> position;
    while (admitted_ < requests_.size()) {
      const auto& next = requests_[admitted_];
      const bool fits = in_flight_ < limits.requests && in_flight_bytes_ + next.cost_bytes <= limits.bytes;
      if (in_flight_ > 0 && !fits) break;
      if (in_flight_ == 0) oldest_since_ = Clock::now();
      ++in_flight_;
      ++admitted_;
      in_flight_bytes_ += next.cost_bytes;
      position = next.end_position;
    }
    return position;
  }

  /// As admit(), at most one; its id, or 0.
  std::uint64_t admit_one(const Limits& limits) {
    if (admitted_ == requests_.size()) return 0;
    const auto& next = requests_[admitted_];
    const bool fits = admitted_ < limits.requests && in_flight_bytes_ + next.cost_bytes <= limits.bytes;
    if (in_flight_ > 0 && !fits) return 0;
    if (in_flight_ == 0) oldest_since_ = Clock::now();
    ++in_flight_;
    in_flight_bytes_ += next.cost_bytes;
    return first_id_ + admitted_++;
  }
  /// The next one that would be admitted; null when there is none.
  const PendingRequest* next_to_admit() const {
    return admitted_ == requests_.size() ? nullptr : &requests_[admitted_];
  }
  /// All before it are done.
  std::uint64_t first_id() const { return first_id_; }
  /// Those before it were admitted.
  std::uint64_t admitted_end() const { return first_id_ + admitted_; }
  /// The oldest request's time begins anew.
  void restart_clock() { oldest_since_ = Clock::now(); }

  /// Admitted and not done, and its frame is among the first `sent` bytes of the stream.
  bool is_in_flight(std::uint64_t id, std::uint64_t sent) const {
    return id >= first_id_ && id - first_id_ < admitted_ && !at(id).done && at(id).end_position <= sent;
  }
  /// One that was added and has not left the line.
  const PendingRequest& at(std::uint64_t id) const { return requests_[static_cast<std::size_t>(id - first_id_)]; }
  PendingRequest& at(std::uint64_t id) { return requests_[static_cast<std::size_t>(id - first_id_)]; }
  /// The first that is in flight behind `id`, or at all when `id` is 0; 0 when there is none.
  std::uint64_t next_in_flight(std::uint64_t id) const;

  /// Closes the books of one that was answered. Its completion is the caller's to run.
  Completion finish(std::uint64_t id);
  /// Nothing is in flight any more, since the connection ended: take_first() is what is left to do.
  void halt() noexcept { admitted_ = in_flight_ = in_flight_bytes_ = 0; }
  /// The completion of the first one that is not done, which leaves the line; empty at the end.
  Completion take_first() noexcept;

  /// The request that the deadline is for. One must be there.
  const PendingRequest& oldest() const { return requests_.front(); }
  /// When the oldest times out; its time begins when it becomes the oldest, since before the daemon was at work on what
  /// came earlier.
  Deadline deadline() const { return in_flight_ == 0 ? never : deadline_after(oldest_since_, oldest().timeout); }

private:
  void forget_done();
  void forget_first() noexcept;

  base::ReusedQueue<PendingRequest> requests_;
  std::uint64_t first_id_ = 1;
  std::uint64_t next_id_ = 1;
  std::size_t admitted_ = 0;   // the first of requests_, done ones among them
  std::size_t in_flight_ = 0;  // admitted and not done
  std::size_t in_flight_bytes_ = 0;
  std::size_t outstanding_ = 0;
  Deadline oldest_since_{};
};

}  // namespace pageserver::client
