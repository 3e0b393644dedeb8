// What all connections together keep in their buffers: frames that have come in part, answers that their peers don't
// take. A little each of them has in any case, so that small requests never wait for any of this.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/memory_share.hpp"
#include "base/mutex.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe. Who would keep more asks has() first, and where there is no room waits in line. What comes of it is
/// charged when it is there.
class BufferRoom {
public:
  /// So much each connection has without being asked.
  static constexpr std::uint64_t free_bytes = 16u << 10;

  /// `share` outlives this, and has room for some frames of `frame_bytes_max`, which one peer has in any case: what is
  /// kept by those that wait is less than three quarters, so that they can't keep each other waiting. `woken(id)`,
  /// which neither waits nor throws, is called for who waits when there may be room, from any thread.
  BufferRoom(base::MemoryShare& share, std::uint32_t peer_percent, std::uint64_t frame_bytes_max,
             std::function<void(std::uint64_t id)> woken);
  static constexpr std::uint64_t frames_min = 4;

  /// So many more fit, of that peer and in all.
  bool has(const Peer& peer, std::uint64_t bytes) const noexcept {
    return share_.used() + bytes <= share_.bytes_max() && peer.buffered_bytes + bytes <= of_peer_max_;
  }
  /// Three quarters are taken: nobody keeps what it could do without.
  bool is_tight(const Peer& peer) const noexcept {
    return share_.used() > share_.bytes_max() / 4 * 3 || peer.buffered_bytes > of_peer_max_ / 4 * 3;
  }
  void change(Peer& peer, std::uint64_t from, std::uint64_t to) noexcept;
  /// It is woken once, when others gave something back; a wait is over by itself after a while, too.
  void wait(std::uint64_t id);
  /// Somebody waits: who holds much and does not go on with it stands in the way.
  bool is_awaited() const noexcept { return waiting_ != 0; }
  void forget_waiting() noexcept;

  const base::MemoryShare& share() const noexcept { return share_; }

  /// What a connection's ring (base/ring/end.hpp) has, for as long as it lives. Nobody takes it away from an idle one.
  class Ring {
  public:
    Ring() = default;
    Ring(Ring&& other) noexcept
        : room_(std::exchange(other.room_, nullptr)), peer_(std::move(other.peer_)), bytes_(other.bytes_) {}
    Ring& operator=(Ring&& other) noexcept {
      Ring old(std::move(*this));
      room_ = std::exchange(other.room_, nullptr);
      peer_ = std::move(other.peer_);
      bytes_ = other.bytes_;
      return *this;
    }
    ~Ring();
    explicit operator bool() const noexcept { return room_ != nullptr; }

  private:
    friend class BufferRoom;
    Ring(BufferRoom& room, std::shared_ptr<Peer> peer, std::uint64_t bytes) noexcept
        : room_(&room), peer_(std::move(peer)), bytes_(bytes) {}
    BufferRoom* room_ = nullptr;
    std::shared_ptr<Peer> peer_;
    std::uint64_t bytes_ = 0;
  };
  /// False where the rings of that peer, or of all, would have more than a quarter: frames need the rest.
  Ring take_ring(const std::shared_ptr<Peer>& peer, std::uint64_t bytes) noexcept;

private:
  void wake_some() noexcept;

  base::MemoryShare& share_;
  const std::uint64_t of_peer_max_;
  const std::function<void(std::uint64_t)> woken_;
  std::atomic<std::uint64_t> ring_bytes_{0};
  std::atomic<std::size_t> waiting_{0};
  Mutex mutex_;
  std::deque<std::uint64_t> line_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
