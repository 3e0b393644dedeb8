// The store engine in the program's own process: `store:PATH`. The same sessions and promises as a daemon's, no socket.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <pageserver/session.hpp>

#include "storage/engine/open_engine.hpp"

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

/// Opens a session on the image at `path`. All sessions of this process on one image share one store, whichever of its
/// paths they are opened by. The first session opens the store, and the last one closes it, which leaves the plain
/// image; should that fail, the log stays, the next opening replays it, and the last session's close() throws why.
/// Throws busy for a path that names another file by now, while a store is open whose image had that name. Only
/// Access::write creates the image. An image that may not be written is opened for reading.
///
/// The session belongs to the process that opened it. In a child after fork(2) every call throws connection_lost,
/// saying so, and the destructor closes the child's descriptors and does nothing else: it writes no byte and removes no
/// file. When the parent ends its last session, others can open the image, whatever the child has. Before that, and
/// when the parent was killed, the child keeps the image locked.
///
/// Errors: those of open_engine(); busy when another process has the image, or another session of this one the lease;
/// limit_exceeded when the two threads that a store needs can't be had.
std::unique_ptr<Session> open_embedded_store(const std::string& path, const EmbeddedOptions& options);

}  // namespace pageserver::storage
