#include "server/admission.hpp"

#include <algorithm>

#include "server/runtime/tls_memory.hpp"
#include "server/stores/open_stores.hpp"
#include "storage/file/open_files.hpp"

namespace pageserver::server {
namespace {

constexpr std::size_t refused_at_once_most = 64;
constexpr std::chrono::seconds warning_interval{10};

/// Counts of several threads, read one after the other, may disagree for a moment.
std::uint64_t without(std::uint64_t all, std::uint64_t some) noexcept { return all - std::min(all, some); }

}  // namespace

// Stores come first: a connection can wait.
void Admission::budget_open_files(std::uint64_t spare_files) {
  const std::uint64_t limit = storage::open_files_limit();
  // Few of them where there are few descriptors.
  refused_at_once_max_ = static_cast<std::size_t>(std::min<std::uint64_t>(refused_at_once_most, limit / 16));
  const std::uint64_t files_of_store = catalog_.open_files_of_a_store();
  // Stores that nobody uses may have an eighth.
  const std::uint64_t lingering =
      config_.directory ? std::min<std::uint64_t>(OpenStores::lingering_default, limit / 8 / files_of_store) : 0;
  catalog_.keep_lingering(static_cast<std::size_t>(lingering));
  // What the stores have already counts twice, which is little.
  const std::uint64_t others =
      storage::open_files_now() + refused_at_once_max_ + spare_files + lingering * files_of_store;
  open_files_ = OpenFilesBudget(limit, others, files_of_store);
  const std::size_t stores = catalog_.stores_to_keep_files_for();
  const std::uint64_t reachable = open_files_.connections_max(stores);
  if (reachable >= config_.limits.connections) return;
  log_.warn("limits.connections can't be reached",
            {{"connections", config_.limits.connections},
             {"reachable", reachable},
             {"open_files", limit},
             {"kept_for_stores", open_files_.kept_for(stores)},
             {"remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower limits.connections"}});
}

// Each of them may shake hands.
std::string Admission::budget_strangers(const MemoryShares& memory, bool speaks_tls) {
  const std::uint64_t configured = config_.limits.strangers;
  const std::uint64_t fit = std::max<std::uint64_t>(1, TlsMemory::handshakes_max(memory.handshake_bytes));
  strangers_max_ = speaks_tls ? std::min(configured, fit) : configured;
  std::string bound = "limits.strangers=" + std::to_string(configured);
  if (strangers_max_ == configured) return bound;
  bound += ", of which TLS handshakes of " + std::to_string(strangers_max_) + " fit into " +
           std::to_string(memory.handshake_bytes) + " bytes of " + memory.name;
  log_.info("fewer strangers", {{"strangers", strangers_max_}, {"reason", bound}});
  return bound;
}

std::string Admission::too_many_connections(std::size_t count) {
  const std::uint64_t configured = config_.limits.connections;
  if (count >= configured)
    return std::to_string(count) + " connections are open, limits.connections=" + std::to_string(configured) +
           "; try again later, or raise the limit";
  const std::size_t stores = catalog_.stores_to_keep_files_for();
  if (count < open_files_.connections_max(stores)) return {};
  const std::uint64_t kept = open_files_.kept_for(stores);
  if (const auto now = std::chrono::steady_clock::now(); now - last_files_warning_ >= warning_interval) {
    last_files_warning_ = now;
    log_.warn("connections refused for want of descriptors",
              {{"connections", count},
               {"open_files", open_files_.limit()},
               {"kept_for_stores", kept},
               {"remedy", "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower limits.connections"}});
  }
  return std::to_string(count) + " connections are open, and of the " + std::to_string(open_files_.limit()) +
         " descriptors that the daemon may have (ulimit -n) " + std::to_string(kept) +
         " are kept for its stores; try again later, or raise that limit";
}

std::size_t Admission::connections_with_sockets() const {
  return static_cast<std::size_t>(without(connections_.count(), resume_tokens_.detached));
}

std::uint64_t Admission::connections_of_peer_max() const noexcept {
  return share_of(config_.limits.connections, config_.limits.peer_percent);
}

std::string Admission::too_many_of_peer(const Peer& peer, std::uint64_t count) const {
  if (count < connections_of_peer_max()) return {};
  return std::to_string(count) + " connections of " + peer.name() +
         " are open, limits.peer_percent=" + std::to_string(config_.limits.peer_percent) +
         " of limits.connections=" + std::to_string(config_.limits.connections) +
         "; close some, or raise one of these limits";
}

std::uint64_t Admission::connections_max() const noexcept {
  return std::min<std::uint64_t>(config_.limits.connections,
                                 open_files_.connections_max(catalog_.stores_to_keep_files_for()));
}

// Who goes still has its descriptor until its turn, which comes before more than a row of others are accepted: there
// are as many as for those that are told why they are refused.
void Admission::make_room(const Peer& peer) {
  const std::uint64_t of_peer_max = share_of(strangers_max_, config_.limits.peer_percent);
  for (;;) {
    const Strangers::Counts all = strangers_.counts(), of_peer = strangers_.counts_of(peer);
    const std::uint64_t count = without(connections_with_sockets(), all.going);
    const std::uint64_t peers_own = without(peer.connections, of_peer.going + peer.detached);
    std::uint64_t goes = 0;
    // The newcomer is among those of the peer already.
    if (of_peer.staying >= of_peer_max || peers_own > connections_of_peer_max()) goes = strangers_.choose(&peer);
    if (goes == 0 && (all.staying >= strangers_max_ || count >= connections_max())) goes = strangers_.choose(nullptr);
    if (goes == 0) return;
    if (const auto connection = connections_.find(goes))
      connection->drop_stranger();
    else
      strangers_.remove(goes);
  }
}

Admission::Verdict Admission::judge(const Peer& peer, std::uint64_t count_of_peer) {
  const std::size_t count = connections_with_sockets();
  const Strangers::Counts strangers = strangers_.counts(), strangers_of_peer = strangers_.counts_of(peer);
  const std::uint64_t known_of_peer = without(count_of_peer, strangers_of_peer.all());
  Verdict verdict;
  std::string reason = too_many_connections(static_cast<std::size_t>(without(count, strangers.all())));
  if (!reason.empty()) {
    verdict.is_dropped = count >= connections_max() + refused_at_once_max_;
  } else if (reason = too_many_of_peer(peer, known_of_peer); !reason.empty()) {
    verdict.is_dropped = count_of_peer >= connections_of_peer_max() + refused_at_once_max_;
  } else {
    make_room(peer);
    return verdict;
  }
  verdict.refusal = proto::Fault{proto::Status::limit_exceeded, std::move(reason)};
  return verdict;
}

void Admission::enter(const std::shared_ptr<Connection>& connection, const std::shared_ptr<Peer>& peer) {
  strangers_.add(connection->id(), peer);
  try {
    connections_.add(connection);
  } catch (...) {
    strangers_.remove(connection->id());
    throw;
  }
}

bool Admission::may_go_on(bool tls) noexcept {
  // Those that shake hands take longer to go, and leave room for the others.
  return strangers_.few_go(std::max<std::size_t>(1, tls ? refused_at_once_max_ / 2 : refused_at_once_max_));
}

std::uint64_t Admission::connections_of(const Peer& peer) noexcept { return without(peer.connections, peer.detached); }

}  // namespace pageserver::server
