// A connection to a daemon for commands that need no session.
#pragma once

#include <memory>

#include <pageserver/error.hpp>
#include <pageserver/remote_provider.hpp>

#include "client/uri/uri.hpp"
#include "client/wire/connection.hpp"

namespace pageserver::pagectl {

/// limit_exceeded while a connection or a session was opened: others have the room, and it is free again when they end.
/// Of anything later the same code says that the request itself is too much.
class NoRoomNow : public MemoryError {
public:
  explicit NoRoomNow(const MemoryError& error) : MemoryError(error) {}
};

/// What `open` returns; where it was refused for want of room, that is thrown as NoRoomNow.
template <class Open>
auto opened(const Open& open) {
  try {
    return open();
  } catch (const MemoryError& error) {
    if (error.errc() == Errc::limit_exceeded) throw NoRoomNow(error);
    throw;
  }
}

/// The same of a session with `options`.
template <class Open>
auto opened_session(const RemoteOptions& options, const Open& open) {
  // More orders of faults than a session takes are too many at any time.
  return options.faults.empty() ? opened(open) : open();
}

std::unique_ptr<client::Connection> dial(const client::Uri& uri);

}  // namespace pageserver::pagectl
