#include "server/runtime/strangers.hpp"

#include <algorithm>

namespace pageserver::server {

// Nodes are made first, and put in place by what can't fail.
void Strangers::add(std::uint64_t id, const std::shared_ptr<Peer>& peer) {
  std::set<std::uint64_t> one{id};
  std::map<std::uint64_t, OfPeer*> entry{{id, nullptr}};
  std::set<Rank> new_rank{Rank{}};
  const Lock lock{mutex_};
  const auto [found, is_new] = peers_.try_emplace(peer.get());
  OfPeer& of = found->second;
  if (is_new) of.peer = peer;
  auto place = of.staying.empty() ? new_rank.extract(new_rank.begin()) : ranks_.extract(rank(of));
  of.staying.merge(one);
  place.value() = rank(of);
  ranks_.insert(std::move(place));
  entry.begin()->second = &of;
  all_.merge(entry);
}

void Strangers::take_out(OfPeer& of, std::uint64_t id) noexcept {
  auto place = ranks_.extract(rank(of));
  of.staying.erase(id);
  if (of.staying.empty()) return;
  place.value() = rank(of);
  ranks_.insert(std::move(place));
}

void Strangers::forget_if_empty(OfPeer& of) noexcept {
  if (of.staying.empty() && of.going == 0) peers_.erase(of.peer.get());
}

bool Strangers::take_out_one(std::uint64_t id, std::shared_ptr<Peer>& kept) noexcept {
  const auto found = all_.find(id);
  if (found == all_.end()) return false;
  OfPeer& of = *found->second;
  kept = of.peer;
  all_.erase(found);
  if (of.staying.contains(id)) {
    take_out(of, id);
  } else {
    --of.going;
    --going_;
  }
  forget_if_empty(of);
  if (going_ >= awaited_) return false;
  awaited_ = 0;
  return true;
}

void Strangers::remove(std::uint64_t id) noexcept {
  std::shared_ptr<Peer> kept;  // its end may be the peer's
  bool fewer = false;
  {
    const Lock lock{mutex_};
    fewer = take_out_one(id, kept);
  }
  if (fewer && fewer_) fewer_();
}

bool Strangers::few_go(std::size_t bound) noexcept {
  const Lock lock{mutex_};
  if (going_ < bound) return true;
  awaited_ = awaited_ == 0 ? bound : std::min(awaited_, bound);
  return false;
}

std::uint64_t Strangers::choose(const Peer* peer) noexcept {
  const Lock lock{mutex_};
  if (ranks_.empty()) return 0;
  OfPeer* of = ranks_.rbegin()->of;
  if (peer != nullptr) {
    const auto found = peers_.find(peer);
    if (found == peers_.end() || found->second.staying.empty()) return 0;
    of = &found->second;
  }
  const std::uint64_t id = *of->staying.begin();
  take_out(*of, id);
  ++of->going;
  ++going_;
  return id;
}

Strangers::Counts Strangers::counts() const {
  const Lock lock{mutex_};
  return {all_.size() - going_, going_};
}

Strangers::Counts Strangers::counts_of(const Peer& peer) const {
  const Lock lock{mutex_};
  const auto found = peers_.find(&peer);
  return found == peers_.end() ? Counts{} : Counts{found->second.staying.size(), found->second.going};
}

}  // namespace pageserver::server
