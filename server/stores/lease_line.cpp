#include "server/stores/lease_line.hpp"

#include <pageserver/error.hpp>

#include "base/text.hpp"

namespace pageserver::server {

struct LeaseLine::Place {
  std::shared_ptr<Taken> taken;
  std::shared_ptr<Peer> peer;
  bool counted = false;

  ~Place() {
    if (!counted) return;
    const Lock lock{taken->mutex};
    --taken->all;
    if (const auto mine = taken->of_peers.find(peer); --mine->second == 0) taken->of_peers.erase(mine);
  }
};

LeaseLine::LeaseLine(std::uint32_t places_max, std::uint32_t peer_percent)
    : places_max_(places_max), peer_percent_(peer_percent) {}

std::shared_ptr<void> LeaseLine::take_place(const std::string& store, const std::shared_ptr<Peer>& peer) {
  // Made before anything is counted.
  const auto place = std::make_shared<Place>();
  place->taken = taken_;
  place->peer = peer;
  const Lock lock{taken_->mutex};
  const std::string open = "open store " + base::quoted(store) + ": ";
  if (taken_->all >= places_max_)
    throw MemoryError(Errc::limit_exceeded, open + std::to_string(taken_->all) +
                                                " sessions wait for its lease, limits.lease_line=" +
                                                std::to_string(places_max_) + "; try again later, or raise the limit");
  std::size_t& mine = taken_->of_peers[peer];
  if (mine >= share_of(places_max_, peer_percent_))
    throw MemoryError(Errc::limit_exceeded,
                      open + std::to_string(mine) + " sessions of " + peer->name() +
                          " wait for its lease, limits.peer_percent=" + std::to_string(peer_percent_) +
                          " of limits.lease_line=" + std::to_string(places_max_) +
                          "; try again later, or raise one of these limits");
  ++mine;
  ++taken_->all;
  place->counted = true;
  return place;
}

}  // namespace pageserver::server
