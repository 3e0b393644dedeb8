// What is known of a connection without asking the thread that serves it, for those who run the daemon.
//
// The connection notes numbers here as it goes on, one plain store each; whoever wants a report reads them from any
// thread, so that none of it stops a loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <pageserver/session.hpp>

#include "base/mutex.hpp"
#include "proto/messages.hpp"
#include "server/access/peer.hpp"
#include "server/connection/dispatch.hpp"
#include "server/connection/pending.hpp"

namespace pageserver::storage {
class StoreSession;
}

namespace pageserver::server {

/// A report, with the texts that its entry points to.
struct DescribedConnection {
  proto::SessionEntry entry;
  std::uint64_t place = 0;  ///< in the store's line, as Store::line() has it; 0: not there
  std::string store;
  std::string session_name;
  std::string client_name;
  std::string address;
  /// Once the texts stay where they are.
  const proto::SessionEntry& finished() noexcept {
    entry.store = store;
    entry.session_name = session_name;
    entry.client_name = client_name;
    entry.address = address;
    return entry;
  }
};

class ConnectionRecord {
public:
  ConnectionRecord(std::uint64_t connection_id, std::string address, const PeerProcess& peer, std::int64_t now_ms)
      : connection_id_(connection_id), peer_(peer), connected_ms_(now_ms), address_(std::move(address)) {
    last_request_ms.set(now_ms);
  }

  std::uint64_t connection_id() const noexcept { return connection_id_; }
  const PeerProcess& peer() const noexcept { return peer_; }

  // What the connection notes, in its turn; times by base::monotonic_ms().
  Tally state;    ///< of proto::SessionState
  Tally pending;  ///< of Pending::What
  Tally last_request_ms;
  Tally in_flight;  ///< requests
  Tally in_hand;    ///< not 0: a thread carries some out
  Tally unsent_bytes;
  Tally session_id;
  Tally opened_ms;
  Tally place;  ///< in the store's line
  Tally epoch;
  Tally held_version;
  Tally private_bytes;
  Counters counters;
  // From any thread.
  std::atomic<bool> lease_lost{false};
  std::atomic<bool> kicked{false};
  std::atomic<bool> ring{false};  ///< it goes through shared memory
  std::atomic<bool> waits_for_turn{false};

  /// In the connection's turn, or before others know of it.
  void greeted(std::string client_name);
  /// An open with this id for its session begins to wait. Throws std::bad_alloc.
  void opening(std::uint64_t session_id, const std::string& store, const std::string& name, Access access, View view,
               Publish publish, std::int64_t now_ms);
  /// Until left() has returned, `session` lives.
  void opened(storage::StoreSession& session, std::int64_t now_ms) noexcept;
  /// Its connection is lost, and the session stays.
  void detached() noexcept;
  /// It has a connection again, from this address.
  void resumed(std::string address, std::string client_name) noexcept;
  /// There is no session any more, whatever `state` is now.
  void left(proto::SessionState now) noexcept;

  /// From any thread: see StoreSession::revoke().
  void revoke(const std::string& reason);
  /// From any thread: of its session, if it has one.
  std::optional<Access> session_access() const;
  /// From any thread: of the session that it has, or had last.
  std::pair<Access, View> last_kind() const;
  /// From any thread.
  bool is_detached() const noexcept {
    return static_cast<proto::SessionState>(state.get()) == proto::SessionState::detached;
  }
  /// From any thread.
  bool has_lease() const noexcept { return epoch != 0 && !lease_lost; }
  /// From any thread.
  bool is_on(std::string_view store) const;
  /// There is nothing left to be ended: of the session, or of the connection, whose last bytes are on their way.
  bool is_over(bool session) const;
  DescribedConnection describe(std::int64_t now_ms) const;

private:
  const std::uint64_t connection_id_;
  const PeerProcess peer_;
  const std::int64_t connected_ms_;
  mutable Mutex mutex_;
  std::string address_ PAGESERVER_GUARDED_BY(mutex_);
  std::string client_name_ PAGESERVER_GUARDED_BY(mutex_);
  std::string store_ PAGESERVER_GUARDED_BY(mutex_);
  std::string session_name_ PAGESERVER_GUARDED_BY(mutex_);
  Access access_ PAGESERVER_GUARDED_BY(mutex_) = Access::read;
  View view_ PAGESERVER_GUARDED_BY(mutex_) = View::live;
  Publish publish_ PAGESERVER_GUARDED_BY(mutex_) = Publish::on_write;
  storage::StoreSession* session_ PAGESERVER_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace pageserver::server
