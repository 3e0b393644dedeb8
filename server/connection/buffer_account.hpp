// What one connection keeps in its buffers: charged in the room of all (BufferRoom), and asked for before it is kept.
//
//   nothing kept --> a large frame comes --> admitted, as a whole --> taken --> its answer is kept until it is read
//                             |                                                        |
//                             +------------> no room: it waits in line <---------------+
//
// Who keeps much and does not go on makes way for those who wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "server/runtime/buffer_room.hpp"

namespace pageserver::server {

/// The connection's, in its turn, but for the calls that say otherwise.
class BufferAccount {
public:
  /// A peer that trickles bytes makes no progress: at least so many count.
  static constexpr std::uint64_t progress_bytes = 64u << 10;

  /// `room` outlives this.
  BufferAccount(BufferRoom& room, std::shared_ptr<Peer> peer, std::uint64_t connection_id)
      : room_(room), peer_(std::move(peer)), connection_id_(connection_id) {}

  /// What is there now.
  struct Kept {
    std::uint64_t input = 0;       ///< received and not taken yet
    std::uint64_t output = 0;      ///< answered and not taken by the peer yet
    std::uint64_t answers = 0;     ///< for a client that may come back
    std::uint64_t moved_ever = 0;  ///< bytes received and sent
  };
  /// Charges it; before each wait.
  void settle(const Kept& kept) noexcept;
  /// Ends the charge: the connection is over.
  void give_back() noexcept { room_.change(*peer_, bytes_.exchange(0), 0); }
  /// All but what is charged is forgotten: the next bytes come over another socket.
  void begin_anew() noexcept;

  /// A frame is let in as a whole, so that those that were let in come to their ends. False: there is no room, and the
  /// connection waits for it. An admitted frame is charged from the next settle() on.
  bool admit(std::uint64_t frame_bytes) noexcept;
  bool is_admitted(std::uint64_t frame_bytes) const noexcept {
    return frame_bytes <= BufferRoom::free_bytes || admitted_bytes_ >= frame_bytes;
  }
  void frame_taken() noexcept { admitted_bytes_ = 0; }
  /// Whether answers of `bytes` may be made, should the peer not take them at once. False as admit().
  bool may_answer(std::uint64_t bytes) noexcept;
  bool is_tight() const noexcept { return room_.is_tight(*peer_); }

  bool waits() const noexcept { return waits_; }
  /// Gets in line. True: not for the first time in a row, so that others are to make way.
  bool wait_in_line() noexcept {
    room_.wait(connection_id_);
    return ++waits_in_a_row_ > 1;
  }
  void end_wait() noexcept { waits_ = false; }

  std::uint64_t bytes() const noexcept { return bytes_; }
  /// What is charged while nothing comes or goes, but for answers that stay whatever becomes of the connection; and
  /// since when, by the monotonic clock. From any thread.
  struct Idle {
    std::uint64_t bytes = 0;
    std::int64_t since_ms = 0;
  };
  Idle idle() const noexcept {
    const std::uint64_t bytes = bytes_, answers = answers_bytes_;
    return {waits_ || bytes <= answers ? 0 : bytes - answers, since_ms_};
  }
  /// From any thread: others need what it keeps.
  void ask_for_room() noexcept { is_asked_ = true; }
  /// Whether somebody did; once.
  bool take_ask() noexcept { return is_asked_.exchange(false); }

private:
  BufferRoom& room_;
  const std::shared_ptr<Peer> peer_;
  const std::uint64_t connection_id_;
  std::uint64_t admitted_bytes_ = 0;  // of the frame at the front of the input, which is large
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> answers_bytes_{0};  // of them, for a client that may come back
  std::atomic<std::int64_t> since_ms_{0};
  std::uint64_t moved_before_ = 0;  // Kept::moved_ever, when since_ms_ was set
  std::atomic<bool> waits_{false};
  int waits_in_a_row_ = 0;
  std::atomic<bool> is_asked_{false};
};

}  // namespace pageserver::server
