// How a connection that was lost is made again, while whoever waits for its answers waits for that.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/wire/connection.hpp"

namespace pageserver::client {

/// A session that can be resumed, as its `open` described it.
struct ResumableSession {
  proto::ResumeToken token{};
  std::string store;
  proto::Access access{};
  proto::View view{};
  proto::Publish publish{};
  bool restarts = false;                 ///< it can be there again after a restart of the daemon
  std::chrono::milliseconds patience{};  ///< how long a connection is tried for
};

/// Tries on a thread of its own, over and over, since a dial takes its time and the owner may wait for other things as
/// well. Whoever destroys it leaves the thread to itself; it ends with the attempt that it is at.
///
/// Threads: one at a time.
class Reconnecting {
public:
  /// Throws std::system_error where there is no thread, and MemoryError where there is no descriptor.
  /// Each attempt is one at each of the hosts, beginning with the one at `first`, until one has the session.
  Reconnecting(const std::vector<Endpoint>& hosts, std::size_t first, const ConnectionOptions& options,
               const ResumableSession& session, std::uint64_t mark, Deadline deadline);
  Reconnecting(const Reconnecting&) = delete;
  Reconnecting& operator=(const Reconnecting&) = delete;
  ~Reconnecting();

  /// Polls readable once there is an outcome.
  int fd() const noexcept;

  struct Outcome {
    std::unique_ptr<Connection> connection;  ///< greeted, with the session; null: `failure` says why
    std::uint64_t executed = 0;              ///< requests up to it are done, or have begun
    std::size_t host = 0;                    ///< which of them has it
    bool rebuilt = false;                    ///< the daemon was started again: see proto::ResumeTicket
    std::string failure;                     ///< empty: no memory
    bool session_is_over = false;            ///< the daemon says so
  };
  /// Empty: it still tries.
  std::optional<Outcome> take();

private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared) noexcept;
  /// One attempt at one host; true: another one may do better.
  static bool attempt(const Shared& shared, std::size_t host, Outcome& outcome) noexcept;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace pageserver::client
