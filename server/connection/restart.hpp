// What a writer's session needs to outlive the daemon: PROTOCOL.md, "After a restart of the server".
//
// The record of each of its publishes says whose it is and up to which request it goes (storage::ResumeEntry). After a
// restart, or a kill, the store still knows the last one. So the session can be rebuilt: with the lease, and without
// what was private and without the answers that were kept. What of the requests that come again was published before
// is not carried out, but answered; all else is carried out, as if for the first time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/messages.hpp"
#include "storage/resume_entry.hpp"

namespace pageserver::server {

struct Restart {
  storage::ResumeEntry entry;  ///< of the next publish
  // Of a session that was rebuilt:
  std::uint64_t published = 0;  ///< the changes of all requests up to it are in
  /// How those of them were answered that the client may not have the answer of.
  std::vector<storage::ResumeEntry::Outcome> outcomes;
  /// The client sends once more what was private, up to this request, all of which is answered; 0: no longer.
  std::uint64_t replays_until = 0;
  bool replay_failed = false;  ///< one of them: nothing behind it is taken over this connection
  bool rebuilding = false;     ///< no request has come since that was not answered before

  /// A request that may not be carried out as it stands: see Connection::was_published() and look_for_replay().
  bool is_within_rebuilt(std::uint64_t request_id) const noexcept { return rebuilding || request_id <= published; }
  /// `acknowledged`: of those up to it nothing has to be known.
  void put(const storage::ResumeEntry::Outcome& outcome, std::uint64_t acknowledged);
  void drop_outcomes(std::uint64_t acknowledged) {
    std::erase_if(entry.outcomes, [&](const auto& one) { return one.request_id <= acknowledged; });
  }
};

/// The entry of a session with this token. Throws std::exception where there is no SHA-256.
storage::ResumeEntry entry_of(const proto::ResumeToken& token, const std::string& who, proto::Publish publish);

}  // namespace pageserver::server
