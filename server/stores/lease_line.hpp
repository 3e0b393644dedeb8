// Who waits for a store's lease: how many may, in all and of each peer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.hpp"
#include "server/runtime/peers.hpp"

namespace pageserver::server {

/// Thread-safe.
class LeaseLine {
public:
  /// At most `places_max` wait, and of one peer `peer_percent` of them (limits.lease_line, limits.peer_percent).
  LeaseLine(std::uint32_t places_max, std::uint32_t peer_percent);

  /// A place for `peer`, for as long as it is kept; it may be kept longer than the line. Throws limit_exceeded, with a
  /// text that names `store`.
  std::shared_ptr<void> take_place(const std::string& store, const std::shared_ptr<Peer>& peer);

private:
  struct Taken {
    Mutex mutex;
    std::size_t all PAGESERVER_GUARDED_BY(mutex) = 0;
    std::map<std::shared_ptr<Peer>, std::size_t> of_peers PAGESERVER_GUARDED_BY(mutex);
  };
  struct Place;

  const std::uint64_t places_max_;
  const std::uint32_t peer_percent_;
  const std::shared_ptr<Taken> taken_ = std::make_shared<Taken>();
};

}  // namespace pageserver::server
