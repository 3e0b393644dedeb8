// Rules, tokens and the certificate: which are in force, and that they are read again while the daemon runs. Files are
// looked at on a thread for disks: they may be on one that hangs.
#pragma once

#include <atomic>
#include <memory>

#include "base/tls/context.hpp"
#include "server/access/policy.hpp"
#include "server/config/config.hpp"
#include "server/config/tls_files.hpp"
#include "server/connection/connections.hpp"
#include "server/metrics/figures.hpp"
#include "server/policy_reload.hpp"
#include "server/runtime/blocking_pool.hpp"
#include "server/runtime/later.hpp"
#include "server/runtime/log.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

class AccessReload {
public:
  /// All of them outlive it. Once `stopping`, nothing is read any more.
  AccessReload(const Config& config, Log& log, Figures& figures, const Connections& connections, BlockingPool& disk,
               Worker& front, const std::atomic<bool>& stopping);

  // Any thread:
  const PolicyInForce& policy() const noexcept { return policy_; }
  const TlsInForce& tls() const noexcept { return tls_; }

  /// Before anything serves: reads all of it. Throws std::runtime_error, which says what is wrong.
  void load();
  // On the front worker:
  /// Soon; `asked`: also what has not changed since. What is wrong is logged, and what was there goes on.
  void look(bool asked);
  /// From time to time from now on, where there are files; nothing where that goes on already.
  void begin();
  void end() noexcept { next_.cancel(); }

private:
  void read(bool asked);
  void read_tls(bool asked);
  void verify_peers();
  void take_tls(std::shared_ptr<const tls::Context> tls) noexcept;

  Log& log_;
  Figures& figures_;
  const Connections& connections_;
  const std::atomic<bool>& stopping_;
  PolicyInForce policy_;
  TlsInForce tls_;
  Later next_;
  // In the strand, once anything serves:
  PolicyReload rules_;
  TlsFiles certificate_;
  bool peers_unverified_ = false;  ///< since tls_ is another one
  Strand strand_;                  // ends first: its tasks use the rest
};

}  // namespace pageserver::server
