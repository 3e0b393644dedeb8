#include "client/wire/request_queue.hpp"

namespace pageserver::client {
namespace {

// Of a frame that is kept: more than a request without data has is given back.
constexpr std::size_t frame_room_kept = 256;

}  // namespace

std::uint64_t RequestQueue::next_in_flight(std::uint64_t id) const {
  std::size_t index = id == 0 ? 0 : static_cast<std::size_t>(id - first_id_) + 1;
  while (index < admitted_ && requests_[index].done) ++index;
  return index < admitted_ ? first_id_ + index : 0;
}

Completion RequestQueue::finish(std::uint64_t id) {
  auto& request = requests_[static_cast<std::size_t>(id - first_id_)];
  auto completion = std::move(request.completion);
  request.done = true;
  --in_flight_;
  --outstanding_;
  in_flight_bytes_ -= request.cost_bytes;
  forget_done();
  return completion;
}

void RequestQueue::forget_first() noexcept {
  std::vector<std::byte>& frame = requests_.front().frame;
  if (frame.capacity() > frame_room_kept) std::vector<std::byte>{}.swap(frame);
  requests_.pop_front();
  ++first_id_;
}

void RequestQueue::forget_done() {
  const auto first = first_id_;
  while (!requests_.empty() && requests_.front().done) {
    forget_first();
    --admitted_;
  }
  if (first_id_ != first && in_flight_ > 0) oldest_since_ = Clock::now();
}

Completion RequestQueue::take_first() noexcept {
  while (!requests_.empty()) {
    const bool done = requests_.front().done;
    Completion completion = std::move(requests_.front().completion);
    forget_first();
    if (done) continue;
    --outstanding_;
    return completion;
  }
  return {};
}

}  // namespace pageserver::client
