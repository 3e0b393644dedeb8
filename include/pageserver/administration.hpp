// For those who run a daemon: who uses it, and how.
#pragma once

#include <cstdint>
#include <string>

#include <pageserver/export.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

// The numbers are those of the protocol. A later daemon may say others.

/// What a client may do with a store, as bits. A later daemon may know more.
enum class Right : std::uint32_t {
  read = 1,    ///< open it with access read
  fork = 2,    ///< open it with access fork
  write = 4,   ///< open it with access write, which reads as well
  create = 8,  ///< make it
  remove = 16,
  admin = 32,  ///< break its lease, see and end the sessions of others, see their names
};

/// "read, fork"; "nothing" for 0; bits that this library does not know as a number.
PAGESERVER_EXPORT std::string rights_text(std::uint32_t rights);

/// Whom a daemon takes a client for, and what that client may do.
struct WhoAmI {
  std::string identity;      ///< "token:NAME", "uid:NUMBER", "anyone"
  std::uint32_t rights = 0;  ///< of Right
  std::string why;           ///< for people: which rules give them
};

/// What a connection to a daemon does.
enum class SessionState : std::uint8_t {
  greeting = 0,  ///< it has not said hello
  front = 1,     ///< it has no session: it lists stores, or does nothing
  opening = 2,   ///< its session is being opened
  in_line = 3,   ///< its session waits for the writer lease
  session = 4,
  leaving = 5,   ///< it has ended, but for what its peer has not read or a disk has not returned
  detached = 6,  ///< a session without a connection, whose client may come back for it
};

/// What its oldest request waits for.
enum class WaitsFor : std::uint8_t {
  nothing = 0,  ///< that is known
  directory = 1,
  store = 2,  ///< which is being opened
  lease = 3,
  flush = 4,
  room = 5,  ///< in the log
  disk = 6,  ///< a call that does not come back
  turn = 7,  ///< other sessions of its store are stuck in too many calls
};

/// "in_line"; "state 9" for a number that this library does not know.
PAGESERVER_EXPORT std::string to_string(SessionState state);
PAGESERVER_EXPORT std::string to_string(WaitsFor waits_for);

/// A connection to a daemon, and the session that it has or waits for. What is about a session is 0 or empty without
/// one. Times are in milliseconds.
struct SessionReport {
  SessionState state = SessionState::greeting;
  WaitsFor waits_for = WaitsFor::nothing;
  Access access = Access::read;
  View view = View::live;
  Publish publish = Publish::on_write;
  bool peer_known = false;  ///< `peer_uid` and `peer_pid` are: of the process at the other end of a Unix socket
  bool has_lease = false;   ///< the writer lease
  bool lost_lease = false;  ///< it had it
  bool kicked = false;      ///< it is being ended, see Daemon::kick()
  bool ring = false;        ///< it goes through shared memory, and the socket only wakes
  std::uint64_t connection_id = 0;
  std::uint64_t session_id = 0;          ///< never that of another one while the daemon runs; as in the daemon's log
  std::uint64_t connected_ms = 0;        ///< age of the connection
  std::uint64_t opened_ms = 0;           ///< since the session was opened, or began to wait for that
  std::uint64_t idle_ms = 0;             ///< since its last request; 0 while one is in flight
  std::uint64_t epoch = 0;               ///< of the writer lease
  std::uint64_t place_in_line = 0;       ///< 1: the next one to get the lease; 0: not in the line
  std::uint64_t held_version = 0;        ///< number of the version that this pin or fork holds
  std::uint64_t requests = 0;            ///< that are done
  std::uint64_t bytes_read = 0;          ///< sent to it as data
  std::uint64_t bytes_written = 0;       ///< taken from it as data
  std::uint64_t private_bytes = 0;       ///< that others don't see, as they count against bounds
  std::uint64_t unsent_bytes = 0;        ///< of answers that its peer does not take
  std::uint32_t requests_in_flight = 0;  ///< that have arrived and are not answered; may be fewer than there are
  std::uint32_t peer_uid = 0;
  std::uint32_t peer_pid = 0;
  std::uint32_t request_ms = 0;  ///< age of the oldest request in flight
  std::string store;
  std::string session_name;  ///< what the session calls itself
  std::string client_name;   ///< program and version
  std::string address;       ///< "127.0.0.1:40312", "unix pid 4711"
};

/// A session, or a connection, that was ended.
struct Kicked {
  SessionReport session;  ///< as it was before
  /// All that it held is free. False: a call to a disk still has hold of it, after a second; its lease and its pin are
  /// free all the same, but for a publish that is under way.
  bool released = false;
};

}  // namespace pageserver
