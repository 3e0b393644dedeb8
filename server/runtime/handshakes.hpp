// Threads where connections of TLS shake hands before the front one sees them. A handshake is arithmetic, up to some
// milliseconds of it, and whoever reaches the port can ask for it: those who are known, and those who come without
// TLS, must not wait behind it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "server/runtime/worker.hpp"

namespace pageserver::server {

class Handshakes {
public:
  Handshakes() = default;
  Handshakes(const Handshakes&) = delete;
  Handshakes& operator=(const Handshakes&) = delete;
  ~Handshakes() { end(); }

  /// On a machine with so many processors: one thread for four of them, so that what is known has the others. `log`
  /// outlives this. Throws std::runtime_error, which says what to raise, when the system gives no thread.
  void start(std::size_t processors, Log& log);
  /// Each in turn; after start(). One thread at a time.
  const std::shared_ptr<Worker>& next() noexcept { return workers_[next_++ % workers_.size()]; }
  /// Stops and joins, and runs what was still posted. More may be posted afterwards, by the worker that connections
  /// go on to, and is run by drain().
  void end() noexcept;
  void drain();

private:
  std::vector<std::shared_ptr<Worker>> workers_;
  std::size_t next_ = 0;
};

}  // namespace pageserver::server
