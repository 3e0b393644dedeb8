// A connection to a daemon for what concerns no session, for any number of threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include <pageserver/daemon.hpp>

#include "base/mutex.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::client {

/// What Daemon and the C interface are made of: see daemon.hpp for the calls, their errors and threads.
class DaemonConnection {
public:
  DaemonConnection(const Endpoint& endpoint, const ConnectionOptions& options);
  DaemonConnection(const DaemonConnection&) = delete;
  DaemonConnection& operator=(const DaemonConnection&) = delete;

  const DaemonInfo& info() const noexcept { return info_; }
  std::chrono::nanoseconds ping();
  std::vector<ListedStore> list();
  void create(std::string_view store, std::uint64_t pages);
  void remove(std::string_view store);
  std::vector<SessionReport> sessions(std::string_view store);
  Load load(std::string_view store);
  WhoAmI whoami(std::string_view store);
  Kicked kick(proto::KickWhat what, std::uint64_t id, std::string_view reason);

private:
  /// Calls `call(connection)` with no other thread in it.
  template <class Call>
  auto in_turn(Call call) {
    // Before the lock: in a child after fork(2) a thread of the parent may have held it.
    if (unlocked().is_forked()) unlocked().check_usable(proto::Operation::ping);
    const Lock lock{mutex_};
    return call(connection_);
  }
  Connection& unlocked() PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return connection_; }

  Mutex mutex_;
  Connection connection_ PAGESERVER_GUARDED_BY(mutex_);
  DaemonInfo info_;
};

}  // namespace pageserver::client
