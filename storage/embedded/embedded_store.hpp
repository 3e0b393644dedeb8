// The store engine in the program's own process: `store:PATH`. The same sessions and promises as a daemon's, no socket.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <pageserver/session.hpp>

#include "storage/engine/engine.hpp"

namespace pageserver::storage {

struct EmbeddedOptions {
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint32_t wait_ms = 0;          ///< how long to wait in line for the writer lease
  std::string name;                   ///< what the session calls itself
  EngineOptions engine;               ///< of the store; those of its first session hold. `salt` 0: a random one
  FileSystem* file_system = nullptr;  ///< null: the operating system's
};

/// Opens a session on the image at `path`. All sessions of this process on one image share one store, by whichever of
/// its paths they come: it is opened by the first and closed, leaving the plain image, by the last; should that fail,
/// the log stays and is replayed at the next opening. A path that names another file now is refused with busy while a
/// store is open whose image had that name. Only Access::write creates the image. An image that may not be written is
/// opened for reading.
///
/// The session is of the process that opened it. In a child after fork(2) every call throws connection_lost, saying so,
/// and the destructor closes the child's descriptors and does nothing else: no byte, no checkpoint, no file removed.
/// When the parent ends its last session others can open the image, whatever the child has. Until then, and when the
/// parent was killed, the child keeps it locked.
///
/// Errors: as open_engine(); busy when another process has the image, or another session of this one the lease;
/// limit_exceeded when there is no thread to be had, of which a store needs two.
std::unique_ptr<Session> open_embedded_store(const std::string& path, const EmbeddedOptions& options);

}  // namespace pageserver::storage
