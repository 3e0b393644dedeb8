// What the log says of a session that is to be resumed even when the store was opened anew: PROTOCOL.md, "Resuming a
// session", and LOG_FORMAT.md, "Resume entry".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <pageserver/session.hpp>

namespace pageserver::storage {

/// A writer's session, and up to which of its requests it has published. The record of each of its publishes holds one,
/// so that a request is carried out and remembered by one and the same append.
struct ResumeEntry {
  /// The answer to a request at or below `last_request_id` that the client may not have, where it is not plain success.
  struct Outcome {
    std::uint64_t request_id = 0;
    std::uint64_t value = 0;   ///< of a grow: the pages before it
    std::uint32_t status = 0;  ///< of the protocol; 0: success
    friend bool operator==(const Outcome&, const Outcome&) = default;
  };
  /// More than these can't be remembered: the session is not there after a restart then.
  static constexpr std::size_t outcomes_max = 14;

  std::array<std::byte, 16> token_hash{};  ///< never the token itself, which is a secret
  std::uint64_t owner = 0;                 ///< a hash of who opened the session
  std::uint64_t last_request_id = 0;
  Publish publish = Publish::on_write;
  std::vector<Outcome> outcomes;  ///< in rising order

  friend bool operator==(const ResumeEntry&, const ResumeEntry&) = default;
};

}  // namespace pageserver::storage
