// What a connection has to have done by when.
#pragma once

#include <chrono>
#include <cstdint>

namespace pageserver::server {

/// At most one thing is due at a time. Pure: whoever waits asks, nothing is called.
///
/// Threads: one at a time.
class Deadline {
public:
  enum class Kind : std::uint8_t { none, hello, input, output, lease_wait, peer_close, kick, fault, linger, home };
  using Clock = std::chrono::steady_clock;

  Kind kind() const noexcept { return kind_; }
  Clock::time_point moment() const noexcept { return moment_; }

  /// `received_bytes` is what the connection has received in all.
  void set(Kind kind, std::chrono::milliseconds from_now, std::uint64_t received_bytes) noexcept {
    kind_ = kind;
    moment_ = Clock::now() + from_now;
    received_bytes_ = received_bytes;
  }
  /// Nothing is due. What hello is due for stays: only `greeted` ends it.
  void clear(bool greeted) noexcept {
    if (kind_ != Kind::hello || greeted) kind_ = Kind::none;
  }
  void clear_if(Kind kind) noexcept {
    if (kind_ == kind) kind_ = Kind::none;
  }
  bool passed(Kind kind) const noexcept { return kind_ == kind && Clock::now() >= moment_; }

  /// Bytes that the peer has sent since the deadline was set: one that trickles makes no progress.
  std::uint64_t progress(std::uint64_t received_bytes) const noexcept { return received_bytes - received_bytes_; }

private:
  Kind kind_ = Kind::none;
  Clock::time_point moment_;
  std::uint64_t received_bytes_ = 0;
};

}  // namespace pageserver::server
