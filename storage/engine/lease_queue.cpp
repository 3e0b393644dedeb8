#include "storage/engine/lease_queue.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace pageserver::storage {

bool LeaseQueue::leave(std::uint64_t place, Waiters& cancelled) noexcept {
  const auto found =
      std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& waiting) { return waiting.place == place; });
  if (found == waiters_.end()) return false;
  cancelled.splice(cancelled.end(), waiters_, found);
  return true;
}

std::vector<std::uint64_t> LeaseQueue::places() const {
  std::vector<std::uint64_t> places;
  places.reserve(waiters_.size());
  for (const Waiter& waiting : waiters_) places.push_back(waiting.place);
  return places;
}

LeaseQueue::Waiter* LeaseQueue::grant(Waiters& granted) noexcept {
  if (writer_ || waiters_.empty()) return nullptr;
  const auto next = waiters_.begin();
  writer_ = next->state;
  // The time that it waited does not count as idle.
  if (next->waited) writer_->last_request_ms = std::numeric_limits<std::int64_t>::max();
  writer_->epoch = next_epoch_++;
  granted.splice(granted.end(), waiters_, next);
  return &granted.back();
}

SessionRef LeaseQueue::end() noexcept {
  last_writer_ = writer_;
  return std::exchange(writer_, nullptr);
}

}  // namespace pageserver::storage
