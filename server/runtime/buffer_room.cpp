#include "server/runtime/buffer_room.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pageserver::server {

namespace {

// At a time: more would find no room, and have to wait once more.
constexpr std::size_t woken_at_once = 4;

}  // namespace

BufferRoom::BufferRoom(base::MemoryShare& share, std::uint32_t peer_percent, std::uint64_t frame_bytes_max,
                       std::function<void(std::uint64_t)> woken)
    : share_{share},
      of_peer_max_{std::max(share_of(share.bytes_max(), peer_percent), frames_min * frame_bytes_max)},
      woken_{std::move(woken)} {}

void BufferRoom::change(Peer& peer, std::uint64_t from, std::uint64_t to) noexcept {
  if (to > from) {
    share_.add(to - from);
    peer.buffered_bytes += to - from;
  } else if (to < from) {
    share_.give_back(from - to);
    peer.buffered_bytes -= from - to;
    if (is_awaited()) wake_some();
  }
}

BufferRoom::Ring BufferRoom::take_ring(const std::shared_ptr<Peer>& peer, std::uint64_t bytes) noexcept {
  const std::uint64_t all = (ring_bytes_ += bytes), of_peer = (peer->ring_bytes += bytes);
  if (all <= share_.bytes_max() / 4 && of_peer <= of_peer_max_ / 4 && has(*peer, bytes)) {
    change(*peer, 0, bytes);
    return {*this, peer, bytes};
  }
  ring_bytes_ -= bytes;
  peer->ring_bytes -= bytes;
  return {};
}

BufferRoom::Ring::~Ring() {
  if (room_ == nullptr) return;
  room_->ring_bytes_ -= bytes_;
  peer_->ring_bytes -= bytes_;
  room_->change(*peer_, bytes_, 0);
}

void BufferRoom::wait(std::uint64_t id) {
  const Lock lock{mutex_};
  line_.push_back(id);
  waiting_ = line_.size();
}

void BufferRoom::forget_waiting() noexcept {
  const Lock lock{mutex_};
  line_.clear();
  waiting_ = 0;
}

void BufferRoom::wake_some() noexcept {
  std::array<std::uint64_t, woken_at_once> woken{};
  std::size_t count = 0;
  {
    const Lock lock{mutex_};
    for (; count < woken.size() && !line_.empty(); line_.pop_front()) woken[count++] = line_.front();
    waiting_ = line_.size();
  }
  for (std::size_t i = 0; i < count; ++i) woken_(woken[i]);
}

}  // namespace pageserver::server
