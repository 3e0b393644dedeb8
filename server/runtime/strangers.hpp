// Connections that have not said who they are: until their hello is taken, TLS handshake included. Whoever comes later
// takes the place of one of them, so that they never keep a client out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/mutex.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe.
class Strangers {
public:
  /// `fewer`, which may neither wait nor throw: see few_go(). From any thread.
  explicit Strangers(std::function<void()> fewer = {}) : fewer_{std::move(fewer)} {}
  Strangers(const Strangers&) = delete;
  Strangers& operator=(const Strangers&) = delete;

  /// `id` is greater than all before. Throws std::bad_alloc, having done nothing.
  void add(std::uint64_t id, const std::shared_ptr<Peer>& peer);
  /// It is known now, or has ended.
  void remove(std::uint64_t id) noexcept;

  /// Who has to go: the oldest of `peer`, or, where that is null, of the peer that has most of them, so that who has
  /// few is not driven out by who has many. 0: there is none. From then on it counts as going, until remove().
  std::uint64_t choose(const Peer* peer) noexcept;

  /// Fewer than `bound` are going. Else `fewer` is called once that is so: the smallest bound counts, where several
  /// were asked for.
  bool few_go(std::size_t bound) noexcept;

  struct Counts {
    std::size_t staying = 0;
    std::size_t going = 0;
    std::size_t all() const noexcept { return staying + going; }
  };
  Counts counts() const;
  Counts counts_of(const Peer& peer) const;

private:
  struct OfPeer {
    std::shared_ptr<Peer> peer;
    std::set<std::uint64_t> staying;
    std::size_t going = 0;
  };
  using Peers = std::map<const Peer*, OfPeer>;
  /// How many, then how old the oldest is: the last of all is the first to go.
  struct Rank {
    std::size_t count = 0;
    std::uint64_t oldest = 0;
    OfPeer* of = nullptr;
    bool operator<(const Rank& other) const noexcept {
      return count != other.count ? count < other.count : oldest > other.oldest;
    }
  };
  static Rank rank(OfPeer& of) noexcept { return {of.staying.size(), *of.staying.begin(), &of}; }
  void take_out(OfPeer& of, std::uint64_t id) noexcept PAGESERVER_REQUIRES(mutex_);
  void forget_if_empty(OfPeer& of) noexcept PAGESERVER_REQUIRES(mutex_);
  /// True: `fewer` is to be called.
  bool take_out_one(std::uint64_t id, std::shared_ptr<Peer>& kept) noexcept PAGESERVER_REQUIRES(mutex_);

  const std::function<void()> fewer_;
  mutable Mutex mutex_;
  Peers peers_ PAGESERVER_GUARDED_BY(mutex_);
  std::set<Rank> ranks_ PAGESERVER_GUARDED_BY(mutex_);  ///< of all who have some that stay
  std::map<std::uint64_t, OfPeer*> all_ PAGESERVER_GUARDED_BY(mutex_);
  std::size_t going_ PAGESERVER_GUARDED_BY(mutex_) = 0;
  std::size_t awaited_ PAGESERVER_GUARDED_BY(mutex_) = 0;  ///< the bound of few_go() that is waited for; 0: none
};

}  // namespace pageserver::server
