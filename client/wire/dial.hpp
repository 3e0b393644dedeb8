// From an endpoint to a connected socket. The only place of the client that knows Asio, for its addresses.
#pragma once

#include <chrono>

#include "base/unique_fd.hpp"
#include "client/uri/endpoint.hpp"

namespace pageserver::client {

/// Resolves the name and tries its addresses in turn, each with its share of the time that is left, until one answers.
/// The socket is non-blocking and closed on exec; TCP has no delay and keepalive. Throws MemoryError connection_lost
/// (the text has each address and why it failed), timed_out, invalid_argument (a socket path that is too long).
UniqueFd dial(const Endpoint& endpoint, std::chrono::steady_clock::time_point deadline);

}  // namespace pageserver::client
