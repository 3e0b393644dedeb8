// A daemon, without a session on one of its stores: lists them, makes them, removes them, shows and ends sessions.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pageserver/administration.hpp>
#include <pageserver/error.hpp>
#include <pageserver/export.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

/// One store of a daemon's list.
struct ListedStore {
  std::string name;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;                 ///< the daemon has it open
  std::optional<Recovery> recovery;  ///< as in Stat, without its texts
  bool recovery_warned = false;      ///< that recovery has a warning, which a session's stat() says
};

struct DaemonInfo {
  std::string name;  ///< what the daemon calls itself, such as "pageserverd 0.1.0"
  std::uint32_t protocol_version = 0;
  std::uint32_t request_bytes_max = 0;  ///< the most that is read or written in one request
  std::uint32_t requests_in_flight_max = 0;
};

/// A connection for what concerns no session. One that has a session can't do these things, so a program that also uses
/// a store has two.
///
///     pageserver::Daemon daemon{"pageserver://127.0.0.1"};
///     daemon.create("fresh", 16);
///     const auto memory = pageserver::open("pageserver://127.0.0.1/fresh");
///
/// Errors: MemoryError. connection_lost, timed_out and protocol_error end the connection, and every later call throws
/// that error again: a create or remove that was not answered may or may not have been carried out. In a child after
/// fork(2) every call throws connection_lost.
///
/// Threads: several may be inside; their calls take turns. Destroying and moving are for one thread.
class PAGESERVER_EXPORT Daemon {
public:
  /// `uri`: pageserver://HOST[:PORT] or pageserver+unix:///?socket=PATH, with connect_timeout, request_timeout,
  /// poll_us and token_file where wanted. Throws what RemoteProvider throws where there is no daemon, and
  /// invalid_argument for a URI that names a store.
  explicit Daemon(std::string_view uri);
  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();

  /// Known since the connection was made: costs no round trip.
  const DaemonInfo& info() const;
  /// Asks the daemon to answer, and returns how long that took. It says nothing about any store.
  std::chrono::nanoseconds ping();
  /// All stores that this client may see, in rising byte order of their names. One that comes or goes meanwhile may or
  /// may not be there.
  std::vector<ListedStore> list();
  /// A new store of `pages` pages of zeros. already_exists; permission_denied where the daemon's configuration does not
  /// allow it; limit_exceeded; no_space.
  void create(std::string_view store, std::uint64_t pages = 0);
  /// The store goes with its file; there is no way back. busy while somebody uses it; not_found; permission_denied.
  void remove(std::string_view store);

  /// Whom the daemon takes this client for, and what it may do with `store`, or with every store where that is empty.
  WhoAmI whoami(std::string_view store = {});

  // For those who run it. Answered also while stores hang; unsupported of an older daemon.

  /// All connections, in rising order of their ids; with `store` only those that have a session on it or wait for one.
  /// One that comes or goes meanwhile may or may not be there.
  std::vector<SessionReport> sessions(std::string_view store = {});
  /// What waits and hangs: of the daemon, and of `store`, or of all stores together where that is empty.
  Load load(std::string_view store = {});
  /// Ends a session, whatever it does. Its client's calls throw connection_lost from then on, with a text that names
  /// who asked for this, and `reason`. not_found where there is none of that id any more; permission_denied.
  Kicked kick(std::uint64_t session_id, std::string_view reason = {});
  /// The same with a connection, which may have no session.
  Kicked kick_connection(std::uint64_t connection_id, std::string_view reason = {});

private:
  class Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pageserver
