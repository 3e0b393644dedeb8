// How a session begins and ends, for the blocking and the asynchronous client.
#pragma once

#include <pageserver/remote_provider.hpp>

#include "client/wire/connection.hpp"

namespace pageserver::client {

/// The options with their defaults filled in; throws invalid_argument, saying what is wrong with them.
RemoteOptions checked(RemoteOptions options);

Endpoint endpoint_of(const RemoteOptions& options);
ConnectionOptions connection_options(const RemoteOptions& options);

struct OpenedSession {
  std::uint64_t pages = 0;
  std::uint64_t size_bytes_max = 0;
  Version version;
};

/// Opens the session that `options` (checked) name, in what is left of connect_timeout, and wait_ms on top. Throws its
/// error.
OpenedSession open_session_on(Connection& connection, const RemoteOptions& options);

/// Throws where the daemon takes no orders of faults, or the text is longer than one request may be.
void check_faults_request(const Connection& connection, const proto::FaultsRequest& message);

/// Tells the daemon that the session is over and waits a second at most for its answer. Throws nothing.
void close_session_on(Connection& connection) noexcept;

}  // namespace pageserver::client
