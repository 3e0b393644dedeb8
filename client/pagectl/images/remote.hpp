// A connection to a daemon for commands that need no session.
#pragma once

#include <memory>

#include <pageserver/error.hpp>

#include "client/uri/uri.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::pagectl {

/// limit_exceeded while a connection or a session was opened: others have the room, and it is free again when they end.
/// Of anything later the same code says that the request itself is too much.
class NoRoomNow : public MemoryError {
public:
  explicit NoRoomNow(const MemoryError& error) : MemoryError(error) {}
};

std::unique_ptr<client::Connection> dial(const client::Uri& uri);

}  // namespace pageserver::pagectl
