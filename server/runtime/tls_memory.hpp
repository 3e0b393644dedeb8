// What OpenSSL keeps in memory for connections. It tells nobody how much that is, so that each counts as what was
// measured for one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/memory_share.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe.
class TlsMemory {
public:
  /// Of a handshake that is under way, or was done by who has not said hello. Their number is bounded by this, see
  /// handshakes_max(): none of them is charged.
  static constexpr std::uint64_t handshake_bytes = 48u << 10;
  /// Of a connection that said hello, while nothing is under way: then OpenSSL gives back its buffers. Its largest part
  /// is a certificate of the client's: 11 KiB without, 24 KiB with one.
  static constexpr std::uint64_t session_bytes = 24u << 10;

  /// `share` outlives this. `peer_percent`: of it, what one peer may have.
  TlsMemory(base::MemoryShare& share, std::uint32_t peer_percent)
      : share_{share}, of_peer_max_{share_of(share.bytes_max(), peer_percent)} {}

  /// So many handshakes fit into `bytes`.
  static constexpr std::uint64_t handshakes_max(std::uint64_t bytes) noexcept { return bytes / handshake_bytes; }

  /// What one connection has, for as long as it lives.
  class Held {
  public:
    Held() = default;
    Held(Held&& other) noexcept
        : share_(std::exchange(other.share_, nullptr)), peer_(std::exchange(other.peer_, nullptr)) {}
    Held& operator=(Held&& other) noexcept {
      Held old(std::move(*this));
      share_ = std::exchange(other.share_, nullptr);
      peer_ = std::exchange(other.peer_, nullptr);
      return *this;
    }
    ~Held() {
      if (share_ == nullptr) return;
      share_->give_back(session_bytes);
      peer_->tls_bytes -= session_bytes;
    }
    explicit operator bool() const noexcept { return share_ != nullptr; }

  private:
    friend class TlsMemory;
    Held(base::MemoryShare& share, std::shared_ptr<Peer> peer) noexcept : share_(&share), peer_(std::move(peer)) {}
    base::MemoryShare* share_ = nullptr;
    std::shared_ptr<Peer> peer_;
  };

  /// False where there is no room for one more of that peer, or at all: refusal() says which.
  Held take(const std::shared_ptr<Peer>& peer) noexcept {
    if (!share_.take(session_bytes, share_.bytes_max())) return {};
    if ((peer->tls_bytes += session_bytes) <= of_peer_max_) return {share_, peer};
    share_.give_back(session_bytes);
    peer->tls_bytes -= session_bytes;
    return {};
  }
  /// Of a take() that failed a moment ago.
  std::string refusal(const Peer& peer, std::uint32_t peer_percent) const {
    const std::string bytes = "each counts " + std::to_string(session_bytes) + " bytes of OpenSSL's memory";
    if (share_.used() + session_bytes <= share_.bytes_max())
      return "the TLS connections of " + peer.name() + " have " + std::to_string(peer.tls_bytes) + " of " +
             std::to_string(of_peer_max_) + " bytes, limits.peer_percent=" + std::to_string(peer_percent) +
             " of what " + share_.name() + " leaves those of all, and " + bytes +
             "; close some, or raise one of these limits";
    return "all TLS connections have " + share_.text() + ", and " + bytes + "; try again later, or raise that limit";
  }

private:
  base::MemoryShare& share_;
  const std::uint64_t of_peer_max_;
};

}  // namespace pageserver::server
