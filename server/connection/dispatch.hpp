// From a request's frame to its answer, for the operations of an open session. No sockets, no threads, no clock.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "proto/codec.hpp"
#include "server/connection/answers.hpp"
#include "server/runtime/tally.hpp"
#include "storage/store.hpp"

namespace pageserver::server {

/// Of a session, for the log line at its end and for reports.
struct Counters {
  Tally requests;
  Tally bytes_read;     ///< sent to the client as data
  Tally bytes_written;  ///< taken from the client as data

  void reset() noexcept {
    for (Tally* const tally : {&requests, &bytes_read, &bytes_written}) tally->set(std::uint64_t{0});
  }
};

/// A write, zero or grow that was answered with an error.
struct FailedChange {
  proto::Operation operation{};
  std::uint64_t request_id = 0;
  proto::Status status{};
};

/// What a request needs to know beyond itself.
struct SessionScope {
  storage::StoreSession& session;
  std::string_view store_name;
  std::uint32_t request_bytes_max = 0;  ///< the smaller of what the server and this client take
  std::uint64_t features = 0;           ///< what hello agreed on
  std::int64_t now_ms = 0;              ///< by the monotonic clock
  std::string_view name;                ///< the session's own: a broken lease's owner is told who did it
  std::string_view address;             ///< and from where
  Counters& counters;
  /// The first one since the last flush, commit or discard that succeeded: what keeps a commit from publishing.
  std::optional<FailedChange>& failed_change;
  bool sees_names = true;  ///< of other sessions, in a stat
  /// What waits and hangs, for a stat; null where that feature was not agreed on.
  const Load* load = nullptr;
};

enum class Next : std::uint8_t {
  answered,       ///< the answer is in `answers`
  flush,          ///< a flush or commit that may go on: the caller calls session.flush(), then answer_flush()
  wait_for_room,  ///< not yet handled: hand in the same frame again once `room` ran
  lease_broken,   ///< answered; a line for the log is due
};

/// `header` has passed proto::check_request_header(). `close` is the connection's own.
Next handle_request(SessionScope& scope, const proto::FrameHeader& header, std::span<const std::byte> payload,
                    Answers& answers, const std::function<void()>& room);

/// Answers a flush or a commit, as `header` says, with what its `done` was given. Forgets the change that failed when
/// it succeeded. What it throws is no answer: the connection has to end, since the flush took effect.
void answer_flush(const proto::FrameHeader& header, const std::exception_ptr& error, const Version& version,
                  Answers& answers, std::optional<FailedChange>& failed_change);

/// For each request of a session that was answered with `status`: remembers the first change that failed.
void note_answer(const proto::FrameHeader& header, proto::Status status, std::optional<FailedChange>& failed_change);

void answer_ping(const proto::FrameHeader& header, std::span<const std::byte> payload, Answers& answers);

}  // namespace pageserver::server
