// Shared memory below a connection to a daemon on the same machine: the ring, and what is known of its socket.
#pragma once

#include <cstdint>
#include <memory>

#include "base/ring/end.hpp"
#include "base/unique_fd.hpp"

namespace pageserver::client {

/// Threads: one may receive while another sends, each for itself one at a time.
class RingChannel {
public:
  /// Of each direction: several requests of a page, and small enough to stay in a processor's cache.
  static constexpr std::uint32_t direction_bytes = 256u << 10;

  /// Null where the system has no memory of the kind. `descriptor` is what the daemon needs of it.
  static std::unique_ptr<RingChannel> make(int socket, UniqueFd& descriptor);
  RingChannel(ring::Memory memory, int socket) noexcept : end_{std::move(memory), ring::Side::client, socket} {}

  ring::End& end() noexcept { return end_; }

  // Who receives.
  /// Takes what has rung out of the socket, without waiting or with.
  void look_at_socket(bool may_block = false) noexcept {
    if (has_ended_) return;
    has_ended_ = end_.look_at_socket(error_, may_block) == ring::End::Socket::end;
  }
  /// Nothing more comes than what is in the ring.
  bool has_ended() const noexcept { return has_ended_; }
  /// errno of that; 0: in order.
  int error() const noexcept { return error_; }

private:
  ring::End end_;
  bool has_ended_ = false;
  int error_ = 0;
};

}  // namespace pageserver::client
