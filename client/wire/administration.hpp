// What those who run a daemon ask it, over a connection without a session.
#pragma once

#include <vector>

#include <pageserver/administration.hpp>

#include "client/wire/connection.hpp"

namespace pageserver::client {

/// As in administration.hpp. All throw what Connection::call() does, unsupported where the daemon knows nothing of it,
/// and protocol_error where answers make no progress.
std::vector<SessionReport> list_sessions(Connection& connection, std::string_view store);
Load ask_load(Connection& connection, std::string_view store);
WhoAmI ask_whoami(Connection& connection, std::string_view store);

struct TakenOver {
  bool was_here = false;  ///< the daemon had the store already
  std::uint64_t took_ms = 0;
  std::string holder;  ///< who had it before; empty: nobody
};
/// The daemon takes the store over from another one. Throws its error; busy where the other one does not let go.
TakenOver take_over(Connection& connection, std::string_view store, bool holder_is_dead);
Kicked kick(Connection& connection, proto::KickWhat what, std::uint64_t id, std::string_view reason);

}  // namespace pageserver::client
