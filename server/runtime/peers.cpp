#include "server/runtime/peers.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace pageserver::server {

void Rate::refill(Clock::time_point now) noexcept {
  if (last_ != Clock::time_point{} && now > last_)
    left_ = std::min(burst_, left_ + per_second_ * std::chrono::duration<double>(now - last_).count());
  last_ = now;
}

bool Rate::take(Clock::time_point now) noexcept {
  refill(now);
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

std::shared_ptr<Peer> Peers::of(const std::string& name) {
  const Lock lock{mutex_};
  if (const auto found = peers_.find(name); found != peers_.end()) return found->second;
  // What is forgotten of somebody who is gone is how many lines it has caused.
  if (peers_.size() >= forget_at_) {
    std::erase_if(peers_, [](const auto& one) { return one.second.use_count() == 1; });
    forget_at_ = std::max(kept_min, 2 * peers_.size());
  }
  auto peer = std::make_shared<Peer>(name);
  peers_.emplace(name, peer);
  return peer;
}

std::string peer_name_of_host(std::string_view numeric_host) {
  std::string host(numeric_host);
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) != 1) return host;
  std::memset(v6.s6_addr + 8, 0, 8);
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET6, &v6, text, sizeof text);
  return std::string(text) + "/64";
}

}  // namespace pageserver::server
