// What a connection has while it has a session.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "server/connection/dispatch.hpp"
#include "server/connection/fault_plan.hpp"
#include "server/connection/restart.hpp"
#include "server/connection/resumption.hpp"
#include "server/stores/catalog.hpp"

namespace pageserver::server {

/// The session goes before the hold on its store. The hold is released on the front worker or when the connection ends.
struct SessionHold {
  std::shared_ptr<HostUse> use;
  storage::Store* store = nullptr;
  std::unique_ptr<storage::StoreSession> session;
  std::uint64_t id = 0;
  std::string name;
  bool keeps_private = false;  ///< what it writes: see StoreSession::private_bytes()
  std::optional<FailedChange> failed_change;
  std::unique_ptr<SessionFaults> faults;          ///< null but in a daemon with --allow-faults
  std::unique_ptr<Resumption> resume;             ///< null unless it outlives its connection
  std::unique_ptr<Restart> restart;               ///< null unless it also outlives the daemon
  std::unique_ptr<const std::string> lost_lease;  ///< why, once it has lost its lease
  bool lease_notice_due = false;                  ///< that it has is to be told
  std::chrono::steady_clock::time_point start;
};

}  // namespace pageserver::server
