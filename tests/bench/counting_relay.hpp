// Stands between one client and a daemon and counts round trips, which neither end can see of the other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <thread>

#include "tests/bench/socket.hpp"

namespace pageserver::bench {

/// Counts the frames of one direction of a stream that comes in any pieces.
class FrameCounter {
public:
  /// Takes the next bytes; returns how many frames began in them that are no notices.
  std::size_t take(std::span<const std::byte> bytes);

private:
  std::byte header_[24] = {};
  std::size_t have_ = 0;  // of the header
  std::uint64_t payload_left_ = 0;
};

/// Listens on a Unix socket and passes on what one client and the daemon say, on a thread of its own. A round trip
/// begins with a request that is sent while none waits for its answer, however many follow it before the answers.
class CountingRelay {
public:
  CountingRelay(const std::string& socket_path, const Address& daemon);
  CountingRelay(const CountingRelay&) = delete;
  CountingRelay& operator=(const CountingRelay&) = delete;
  /// Waits until the client has gone.
  ~CountingRelay();

  const Address& address() const noexcept { return address_; }
  std::uint64_t round_trips() const noexcept { return round_trips_.load(); }

private:
  void relay(const Address& daemon);

  Address address_;
  int listener_ = -1;
  std::atomic<std::uint64_t> round_trips_{0};
  std::thread thread_;
};

}  // namespace pageserver::bench
