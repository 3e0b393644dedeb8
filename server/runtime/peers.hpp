// Who is at the other end of connections, as far as the daemon knows: the address that they come from, or the user of
// this machine. What is bounded in all is bounded for each of them as well, so that one alone never has all of it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.hpp"

namespace pageserver::server {

/// So many things may happen in a while: `burst` at once, and `per_second` in the long run. Not thread-safe.
class Rate {
public:
  using Clock = std::chrono::steady_clock;
  Rate(double burst, double per_second) noexcept : burst_{burst}, per_second_{per_second}, left_{burst} {}

  bool take(Clock::time_point now) noexcept;
  bool has(Clock::time_point now) noexcept {
    refill(now);
    return left_ >= 1;
  }

private:
  void refill(Clock::time_point now) noexcept;

  double burst_;
  double per_second_;
  double left_;
  Clock::time_point last_{};
};

/// What is counted for one peer. All of it from any thread.
class Peer {
public:
  explicit Peer(std::string name) : name_(std::move(name)) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// "192.0.2.7", "2001:db8:1:2::/64", "uid 1000".
  const std::string& name() const noexcept { return name_; }

  std::atomic<std::uint64_t> connections{0};
  std::atomic<std::uint64_t> detached{0};        ///< of them, sessions without a socket
  std::atomic<std::uint64_t> stores{0};          ///< of a directory, open since one of its sessions wanted them
  std::atomic<std::uint64_t> fork_bytes{0};      ///< private bytes of its forks
  std::atomic<std::uint64_t> buffered_bytes{0};  ///< see BufferRoom
  std::atomic<std::uint64_t> ring_bytes{0};      ///< of them, of rings
  std::atomic<std::uint64_t> tls_bytes{0};       ///< see TlsMemory

private:
  friend class LogLines;
  const std::string name_;
  Mutex mutex_;
  struct Lines {
    explicit Lines(const Rate& of) : rate(of) {}
    Rate rate;
    std::uint64_t left_out = 0;
  };
  std::map<std::string_view, Lines> lines_ PAGESERVER_GUARDED_BY(mutex_);  ///< by what they are about
};

/// One more of something, for as long as it lives.
class Counted {
public:
  Counted() = default;
  /// `of` is kept, and `count` is a part of it.
  Counted(std::shared_ptr<Peer> of, std::atomic<std::uint64_t>& count) noexcept : peer_(std::move(of)), count_(&count) {
    ++count;
  }
  Counted(Counted&& other) noexcept : peer_(std::move(other.peer_)), count_(std::exchange(other.count_, nullptr)) {}
  Counted& operator=(Counted&& other) noexcept {
    Counted old(std::move(*this));
    peer_ = std::move(other.peer_);
    count_ = std::exchange(other.count_, nullptr);
    return *this;
  }
  ~Counted() {
    if (count_ != nullptr) --*count_;
  }

private:
  std::shared_ptr<Peer> peer_;
  std::atomic<std::uint64_t>* count_ = nullptr;
};

/// `percent` of a limit, but all of it where that is small: no whole one would be left for others.
constexpr std::uint64_t share_of(std::uint64_t limit, std::uint32_t percent) noexcept {
  const std::uint64_t others = 100 - percent;
  return limit - (limit / 100 * others + limit % 100 * others / 100);
}

/// Thread-safe.
class Peers {
public:
  /// The peer of that name. It is remembered for some time after its last connection.
  std::shared_ptr<Peer> of(const std::string& name);

private:
  static constexpr std::size_t kept_min = 1024;

  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Peer>> peers_ PAGESERVER_GUARDED_BY(mutex_);
  std::size_t forget_at_ PAGESERVER_GUARDED_BY(mutex_) = kept_min;
};

/// How a peer is called that connects from this address: of IPv6 by its network, since who has one address has them
/// all there.
std::string peer_name_of_host(std::string_view numeric_host);

}  // namespace pageserver::server
