// One end of a ring: a stream of bytes in each direction through memory that two processes share, and a socket that
// wakes who sleeps.
//
// The other end may be hostile, and may write anywhere in that memory at any time. So this end keeps its own indices to
// itself and only tells them; what it reads of the other's is read once and held to what is possible; and bytes are
// copied out before anybody looks at them.
//
// No wake-up is lost: who wants to sleep says so in its word, and then looks once more; who has moved an index looks at
// that word afterwards. Both are sequentially consistent, so that one of the two sees the other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/ring/layout.hpp"
#include "base/ring/memory.hpp"

namespace pageserver::ring {

enum class Side : std::uint8_t { client, server };

/// Threads: one may read and sleep while another writes; each for itself one at a time.
class End {
public:
  /// `socket` stays the caller's, and outlives this.
  End(Memory memory, Side side, int socket) noexcept
      : End(memory.start(), (memory.bytes() - header_bytes) / 2, side, socket) {
    memory_ = std::move(memory);
  }
  /// Over memory that outlives this.
  End(std::byte* memory, std::size_t direction_bytes, Side side, int socket) noexcept;
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  /// Takes what is there, as far as it fits; returns how many bytes.
  std::size_t read(std::span<std::byte> into) noexcept;
  /// Gives as much as there is room for; returns how many bytes.
  std::size_t write(std::span<const std::byte> from) noexcept;
  /// The same without telling the other end, until publish().
  std::size_t append(std::span<const std::byte> from) noexcept;
  void publish() noexcept;

  bool has_bytes() const noexcept { return from_peer_.written->load(std::memory_order_acquire) != read_; }
  bool has_room() const noexcept {
    return written_.load(std::memory_order_relaxed) - to_peer_.read->load(std::memory_order_acquire) != capacity_;
  }
  /// The other end has written an index that is not possible: nothing is read, or written, any more.
  bool is_read_broken() const noexcept { return read_broken_; }
  bool is_write_broken() const noexcept { return write_broken_; }

  /// Before a wait at the socket for all that `what` (of Sleeps) names. False: one of it has come, do not wait.
  bool begin_sleep(std::uint32_t what) noexcept;
  void end_sleep() noexcept { own_sleeps_->store(0, std::memory_order_relaxed); }

  std::size_t memory_bytes() const noexcept { return ring::memory_bytes(capacity_); }

  enum class Socket : std::uint8_t { quiet, rung, end };
  /// Takes doorbells out of the socket, without waiting or (once) with: what else comes there is no doorbell, and not
  /// looked at. `end`: of the stream, in whatever way, which `error` says (an errno, or 0).
  Socket look_at_socket(int& error, bool may_block = false) noexcept;

private:
  struct Direction {
    std::byte* bytes = nullptr;
    Index* written = nullptr;
    Index* read = nullptr;
  };
  void ring(std::uint32_t what) noexcept;

  Memory memory_;
  const std::uint64_t capacity_;
  const int socket_;
  Direction from_peer_;
  Direction to_peer_;
  Sleeps* own_sleeps_;
  Sleeps* peer_sleeps_;
  // Who reads.
  std::uint64_t read_ = 0;
  bool read_broken_ = false;
  // Who writes. The other thread looks whether there is room.
  alignas(line_bytes) std::atomic<std::uint64_t> written_{0};
  std::uint64_t published_ = 0;
  std::uint64_t peer_read_ = 0;  // as far as known
  bool write_broken_ = false;
};

}  // namespace pageserver::ring
