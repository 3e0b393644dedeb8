// Faults on order as text: which request a fault strikes, and what it does. One grammar for the protocol, for URIs,
// for files and for the command line; PROTOCOL.md has it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire.hpp"

namespace pageserver::proto {

enum class FaultAction : std::uint8_t {
  delay,             ///< the request waits before it is carried out
  hang,              ///< the same, without an end
  status,            ///< it is not carried out, and answered with `status`
  cut_before,        ///< it is not carried out, and the connection ends
  cut_after,         ///< it is carried out, and the connection ends without its answer
  torn,              ///< it is carried out, and the connection ends inside its answer
  drip,              ///< its answer goes out a few bytes at a time
  lease_lost,        ///< the session loses its lease before it
  snapshot_too_old,  ///< the version that the session holds is given up before it
  sync_failed,       ///< a flush or commit fails, and so does each later change of the session
  stop,              ///< the daemon stops in order, before it
  kill_before,       ///< the daemon is killed before it
  kill_inside,       ///< the daemon is killed in the middle of the next record of the store's log
  kill_after,        ///< the daemon is killed after it was carried out, and before its answer
};

/// One order. Of the requests that match (operation, range, bytes before) those from `first` to `last` are struck, or
/// with `rate_ppm` each with that probability.
struct FaultOrder {
  std::string text;                       ///< as it was written
  std::optional<Operation> operation;     ///< nothing: whatever may be struck
  std::uint64_t first = 1;                ///< counted from 1
  std::uint64_t last = 1;                 ///< so many at most, counted as `first`
  std::optional<std::uint32_t> rate_ppm;  ///< of a million
  std::uint64_t seed = 0;
  std::uint64_t at_offset = 0;
  std::optional<std::uint64_t> at_length;  ///< nothing: wherever
  std::uint64_t after_bytes = 0;           ///< that requests of the operation moved before
  FaultAction action = FaultAction::status;
  Status status = Status::ok;
  std::chrono::milliseconds delay_min{0};
  std::chrono::milliseconds delay_max{0};
  std::optional<std::uint32_t> bytes;  ///< torn: so many of the answer are sent, nothing: half; drip: at a time
};

/// What is wrong with a text of orders, for people: "at byte 8: …".
struct FaultOrderError {
  std::size_t position = 0;  ///< in the whole text, from 0
  std::string message;       ///< names the position, what stands there, and what may stand there
};

/// Reads orders that are separated by commas or ends of lines; blanks around one, and what follows a `#` up to the end
/// of its line, mean nothing. Appends to `orders`; on an error `orders` holds those before it.
[[nodiscard]] std::optional<FaultOrderError> parse_fault_orders(std::string_view text, std::vector<FaultOrder>& orders);

/// Whether it may lead to a record in the log.
bool may_change(Operation operation);

/// Whether a request of this kind can be struck: those of a session, but for `faults` itself.
bool can_be_struck(Operation operation);

/// It ends or kills the daemon, and not only what one session sees.
inline bool strikes_the_daemon(FaultAction action) {
  return action == FaultAction::stop || action == FaultAction::kill_before || action == FaultAction::kill_inside ||
         action == FaultAction::kill_after;
}

}  // namespace pageserver::proto
