// Who is let in: how many connections there may be, by limits, descriptors and memory, and who goes for a newcomer.
//
//   known connections fill a limit ──> refused, and told why; some at a time, the others are just closed
//   strangers do                   ──> one of them goes, and the newcomer comes in as a stranger
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/config/config.hpp"
#include "server/connection/connections.hpp"
#include "server/connection/resume_tokens.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/open_files_budget.hpp"
#include "server/runtime/peers.hpp"
#include "server/runtime/strangers.hpp"
#include "server/stores/catalog.hpp"
#include "server/stores/memory_shares.hpp"

namespace pageserver::server {

/// On the front worker, but for strangers().
class Admission {
public:
  /// `fewer_strangers`: see Strangers. All of them outlive it.
  Admission(const Config& config, Log& log, Catalog& catalog, Connections& connections,
            const ResumeTokens& resume_tokens, std::function<void()> fewer_strangers)
      : config_(config),
        log_(log),
        catalog_(catalog),
        connections_(connections),
        resume_tokens_(resume_tokens),
        strangers_(std::move(fewer_strangers)) {}

  // Before anybody comes, in this order:
  /// Shares the descriptors out, `spare_files` of them for what is neither a connection nor a store. Stores come first:
  /// a connection can wait.
  void budget_open_files(std::uint64_t spare_files);
  /// How many strangers may stay: said for people.
  std::string budget_strangers(const MemoryShares& memory, bool speaks_tls);

  /// Any thread.
  Strangers& strangers() noexcept { return strangers_; }
  std::uint64_t strangers_max() const noexcept { return strangers_max_; }
  std::shared_ptr<Peer> peer(const std::string& name) { return peers_.of(name); }
  /// How many a peer has, without the sessions whose clients have lost theirs.
  static std::uint64_t connections_of(const Peer& peer) noexcept;

  struct Verdict {
    bool is_dropped = false;  ///< it is closed without a word
    std::optional<proto::Fault> refusal;
  };
  /// Of a connection that is made whole and is not entered yet; `count_of_peer` is what its peer had before. Strangers
  /// make room for it: it is refused only where those that are known fill a limit.
  Verdict judge(const Peer& peer, std::uint64_t count_of_peer);
  /// From now on it can be found, and is a stranger. Throws std::bad_alloc, having done nothing.
  void enter(const std::shared_ptr<Connection>& connection, const std::shared_ptr<Peer>& peer);
  /// False: strangers that go have to have gone before more come, which `fewer_strangers` tells.
  bool may_go_on(bool tls) noexcept;

private:
  /// Why there may be no further connection beside `count`, or empty.
  std::string too_many_connections(std::size_t count);
  std::uint64_t connections_of_peer_max() const noexcept;
  /// Without the sessions whose clients have lost theirs.
  std::size_t connections_with_sockets() const;
  /// There may be so many as descriptors and limits.connections allow.
  std::uint64_t connections_max() const noexcept;
  /// For one more stranger, by those of whom others go.
  void make_room(const Peer& peer);
  /// The same of one peer, which has so many.
  std::string too_many_of_peer(const Peer& peer, std::uint64_t count) const;

  const Config& config_;
  Log& log_;
  Catalog& catalog_;
  Connections& connections_;
  const ResumeTokens& resume_tokens_;
  Peers peers_;
  Strangers strangers_;
  std::uint64_t strangers_max_ = 0;
  OpenFilesBudget open_files_;
  std::size_t refused_at_once_max_ = 0;  ///< connections over a limit that are told why; the others are just closed
  std::chrono::steady_clock::time_point last_files_warning_;
};

}  // namespace pageserver::server
