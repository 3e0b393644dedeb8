#include "server/connection/dispatch.hpp"

#include <string>
#include <utility>

#include "proto/library_values.hpp"

namespace pageserver::server {

namespace {

using proto::FrameHeader;
using proto::Operation;
using proto::Status;
using Payload = std::span<const std::byte>;

// Of what answers a change, but for those that say otherwise.
constexpr std::size_t small_answer_bytes = 64;
constexpr std::size_t refresh_answer_bytes_max = 64 + proto::ranges_max * sizeof(proto::Range);
constexpr std::size_t holder_answer_bytes_max = 64 + 2 * proto::name_bytes_max;

// Decodes, calls and answers; whatever goes wrong in between is an error answer. A call that changes something makes
// room for its answer first: an error says that nothing was changed.
template <class Request, class Call>
Next serve(const FrameHeader& header, Payload payload, Answers& answers, Call call) {
  Request request;
  if (const proto::Decoded fault = proto::decode(payload, request)) {
    answers.error(header, *fault);
    return Next::answered;
  }
  try {
    return call(request);
  } catch (...) {
    answers.error(header, std::current_exception());
  }
  return Next::answered;
}

/// A change, as room() lets it in; `change` answers.
template <class Change>
Next serve_change(SessionScope& scope, Answers& answers, const std::function<void()>& room, const Change& change) {
  if (!scope.session.may_write(room)) return Next::wait_for_room;
  answers.reserve(small_answer_bytes);
  try {
    change();
  } catch (const MemoryError&) {
    if (scope.session.room_may_come(room)) return Next::wait_for_room;
    throw;
  }
  return Next::answered;
}

void check_length(const SessionScope& scope, const char* action, std::uint64_t offset, std::uint64_t length) {
  if (length <= scope.request_bytes_max) return;
  throw MemoryError(Errc::limit_exceeded, std::string(action) + " offset=" + std::to_string(offset) +
                                              " length=" + std::to_string(length) + " exceeds request_bytes_max=" +
                                              std::to_string(scope.request_bytes_max) + "; split the request");
}

void check_feature(const SessionScope& scope, std::uint64_t feature, const char* name) {
  if ((scope.features & feature) != 0) return;
  throw MemoryError(Errc::unsupported, std::string(name) + " was not agreed on in hello: offer its feature bit " +
                                           std::to_string(feature));
}

std::string not_agreed_on(Operation operation, std::uint64_t feature) {
  return proto::to_string(operation) + " was not agreed on in hello: offer its feature bit " + std::to_string(feature);
}

Next serve_grow(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers,
                const std::function<void()>& room) {
  return serve<proto::GrowRequest>(header, payload, answers, [&](const proto::GrowRequest& request) {
    return serve_change(scope, answers, room, [&] {
      answers.add(header.request_id, proto::GrowAnswer{scope.session.grow(request.new_pages)});
    });
  });
}

Next serve_read(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::ReadRequest>(header, payload, answers, [&](const proto::ReadRequest& request) {
    check_length(scope, "read", request.offset, request.length);
    const std::span<std::byte> data = answers.payload(header, request.length);
    try {
      scope.session.read(request.offset, data);
    } catch (...) {
      answers.cancel_payload(request.length);
      throw;
    }
    scope.counters.bytes_read.add(request.length);
    return Next::answered;
  });
}

Next serve_write(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers,
                 const std::function<void()>& room) {
  return serve<proto::WriteRequest>(header, payload, answers, [&](const proto::WriteRequest& request) {
    check_length(scope, "write", request.offset, request.data.size());
    return serve_change(scope, answers, room, [&] {
      scope.session.write(request.offset, request.data);
      scope.counters.bytes_written.add(request.data.size());
      answers.add(header.request_id, proto::WriteAnswer{});
    });
  });
}

Next serve_zero(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers,
                const std::function<void()>& room) {
  return serve<proto::ZeroRequest>(header, payload, answers, [&](const proto::ZeroRequest& request) {
    check_feature(scope, proto::feature_zero, "zero");
    return serve_change(scope, answers, room, [&] {
      scope.session.zero(request.offset, request.length);
      answers.add(header.request_id, proto::ZeroAnswer{});
    });
  });
}

Next serve_data_ranges(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::DataRangesRequest>(header, payload, answers, [&](const proto::DataRangesRequest& request) {
    check_feature(scope, proto::feature_data_ranges, "data_ranges");
    proto::DataRangesAnswer answer;
    answer.ranges =
        scope.session.data_ranges(request.offset, request.length, proto::ranges_max, answer.described_until);
    answers.add(header.request_id, answer);
    return Next::answered;
  });
}

Next serve_commit(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::CommitRequest>(header, payload, answers, [&](const proto::CommitRequest&) {
    check_feature(scope, proto::feature_commit, "commit");
    if (scope.failed_change) {
      static_cast<void>(scope.session.view());  // a lease that is lost is the answer, whatever else failed
      const FailedChange& failed = *scope.failed_change;
      throw MemoryError(Errc::invalid_argument,
                        "commit: nothing is published, since a " + proto::to_string(failed.operation) + " (request " +
                            std::to_string(failed.request_id) + ") was answered with " +
                            proto::to_string(failed.status) + "; send again what is missing and flush, or discard");
    }
    return Next::flush;
  });
}

Next serve_refresh(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::RefreshRequest>(header, payload, answers, [&](const proto::RefreshRequest&) {
    answers.reserve(refresh_answer_bytes_max);
    proto::RefreshAnswer answer = scope.session.refresh();
    // "Everything" is always a true answer, if not the best one. The view has moved: an error would be none.
    if (answer.changed.size() > proto::ranges_max) answer.everything = true;
    if (answer.everything) answer.changed.clear();
    answers.add(header.request_id, answer);
    return Next::answered;
  });
}

// But for the session's own.
void hide_names(const SessionScope& scope, Stat& stat) {
  for (std::optional<HolderStat>* const holder : {&stat.writer, &stat.oldest_holder}) {
    if (!*holder || ((*holder)->epoch != 0 && (*holder)->epoch == scope.session.epoch())) continue;
    (*holder)->name.clear();
    (*holder)->address.clear();
  }
}

Next serve_stat(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::StatRequest>(header, payload, answers, [&](const proto::StatRequest&) {
    Stat stat = scope.session.stat(scope.now_ms);
    if (!scope.sees_names) hide_names(scope, stat);
    proto::StatAnswer answer = proto::to_wire(stat);
    answer.store = scope.store_name;
    if ((scope.features & proto::feature_recovery) == 0) answer.recovery.reset();
    if (scope.load != nullptr) answer.load = *scope.load;
    if ((scope.features & proto::feature_home) == 0) answer.home.reset();
    answers.add(header.request_id, answer);
    return Next::answered;
  });
}

std::string breaker(const SessionScope& scope) {
  return "broken by \"" + std::string(scope.name) + "\" at " + std::string(scope.address);
}

Next serve_break_lease(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers) {
  return serve<proto::BreakLeaseRequest>(header, payload, answers, [&](const proto::BreakLeaseRequest& request) {
    answers.reserve(holder_answer_bytes_max);
    const std::optional<HolderStat> broken = scope.session.break_lease(request.epoch, breaker(scope), scope.now_ms);
    proto::BreakLeaseAnswer answer;
    if (broken) answer.broken = proto::to_wire(*broken);
    answers.add(header.request_id, answer);
    return broken ? Next::lease_broken : Next::answered;
  });
}

Next serve_request(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers,
                   const std::function<void()>& room) {
  switch (header.operation) {
    case Operation::read: return serve_read(scope, header, payload, answers);
    case Operation::write: return serve_write(scope, header, payload, answers, room);
    case Operation::grow: return serve_grow(scope, header, payload, answers, room);
    case Operation::zero: return serve_zero(scope, header, payload, answers, room);
    case Operation::data_ranges: return serve_data_ranges(scope, header, payload, answers);
    case Operation::refresh: return serve_refresh(scope, header, payload, answers);
    case Operation::stat: return serve_stat(scope, header, payload, answers);
    case Operation::break_lease: return serve_break_lease(scope, header, payload, answers);
    case Operation::size:
      return serve<proto::SizeRequest>(header, payload, answers, [&](const proto::SizeRequest&) {
        const storage::SessionView view = scope.session.view();
        answers.add(header.request_id, proto::SizeAnswer{view.pages, view.version});
        return Next::answered;
      });
    case Operation::discard:
      return serve<proto::DiscardRequest>(header, payload, answers, [&](const proto::DiscardRequest&) {
        answers.reserve(small_answer_bytes);
        const storage::SessionView left = scope.session.discard();
        answers.add(header.request_id, proto::DiscardAnswer{left.pages, left.version});
        scope.failed_change.reset();
        return Next::answered;
      });
    case Operation::commit: return serve_commit(scope, header, payload, answers);
    case Operation::flush:
      return serve<proto::FlushRequest>(header, payload, answers,
                                        [](const proto::FlushRequest&) { return Next::flush; });
    case Operation::ping: answer_ping(header, payload, answers); return Next::answered;
    case Operation::sessions:
    case Operation::kick:
      if ((scope.features & proto::feature_sessions) != 0) break;
      answers.error(header.request_id, header.operation, Status::unsupported,
                    not_agreed_on(header.operation, proto::feature_sessions));
      return Next::answered;
    case Operation::whoami:
      if ((scope.features & proto::feature_identity) != 0) break;
      answers.error(header.request_id, header.operation, Status::unsupported,
                    not_agreed_on(header.operation, proto::feature_identity));
      return Next::answered;
    case Operation::ring:
      if ((scope.features & proto::feature_ring) != 0) break;
      answers.error(header.request_id, header.operation, Status::unsupported,
                    not_agreed_on(header.operation, proto::feature_ring));
      return Next::answered;
    case Operation::takeover:
      if ((scope.features & proto::feature_takeover) != 0) break;
      answers.error(header.request_id, header.operation, Status::unsupported,
                    not_agreed_on(header.operation, proto::feature_takeover));
      return Next::answered;
    case Operation::faults:  // of a daemon that allows them it does not come here
      return serve<proto::FaultsRequest>(header, payload, answers, [&](const proto::FaultsRequest&) -> Next {
        throw MemoryError(Errc::unsupported, not_agreed_on(header.operation, proto::feature_faults) +
                                                 ", of a server that was started for it (--allow-faults)");
      });
    case Operation::hello:
    case Operation::list:
    case Operation::create:
    case Operation::remove:
    case Operation::open:
    case Operation::close:
    case Operation::lease_lost:
    case Operation::goodbye:
    case Operation::waiting: break;
  }
  answers.error(header.request_id, header.operation, Status::invalid_argument,
                proto::to_string(header.operation) + " is not for a connection with an open session; use another one");
  return Next::answered;
}

}  // namespace

void answer_ping(const FrameHeader& header, Payload payload, Answers& answers) {
  proto::PingRequest request;
  if (const proto::Decoded fault = proto::decode(payload, request)) return answers.error(header, *fault);
  answers.add(header.request_id, proto::PingAnswer{request.echo});
}

void answer_flush(const FrameHeader& header, const std::exception_ptr& error, const Version& version, Answers& answers,
                  std::optional<FailedChange>& failed_change) {
  if (error) return answers.error(header, error);
  if (header.operation == Operation::commit) {
    answers.add(header.request_id, proto::CommitAnswer{version});
  } else {
    answers.add(header.request_id, proto::FlushAnswer{version});
  }
  failed_change.reset();
}

void note_answer(const FrameHeader& header, Status status, std::optional<FailedChange>& failed_change) {
  if (status == Status::ok || failed_change) return;
  switch (header.operation) {
    case Operation::write:
    case Operation::zero:
    case Operation::grow: failed_change = FailedChange{header.operation, header.request_id, status}; break;
    default: break;
  }
}

Next handle_request(SessionScope& scope, const FrameHeader& header, Payload payload, Answers& answers,
                    const std::function<void()>& room) {
  const Next next = serve_request(scope, header, payload, answers, room);
  if (next == Next::answered) note_answer(header, answers.last_status(), scope.failed_change);
  return next;
}

}  // namespace pageserver::server
