// What comes in: bytes to frames, frames to the requests that they answer.
//
// The life of a request: enqueue() puts it into `pending_`, admit() lets its frame out, its answer comes here,
// what_is_wrong() holds the answer's header to what was asked, complete() closes the books and runs its completion. The
// payload of a large read is received straight into the caller's buffer: one whose header is here is `direct_`, one
// that is only expected next is `ahead_`. What comes instead of the expected one is put back into the buffer, so that a
// guess that was wrong costs a copy and nothing else.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/error_mapping.hpp"

namespace pageserver::client {
namespace {

// Answers other than a read's are far smaller; a daemon that announces more is not taken at its word.
constexpr std::uint32_t small_payload_bytes_max = 256u << 10;

bool is_read_data(const proto::FrameHeader& header) {
  return header.flags == proto::flag_answer && header.operation == proto::Operation::read &&
         header.status == proto::Status::ok;
}

}  // namespace

std::uint32_t Connection::frame_limit() const {
  return greeted_ ? server_.request_bytes_max + proto::payload_overhead_bytes : proto::hello_payload_bytes_max;
}

std::size_t Connection::take_received(const ReceiveBuffer::Received& first) {
  std::size_t completed = 0;
  for (auto got = first;;) {
    counters_.bytes_received += got.direct + got.buffered + got.ahead;
    if (got.would_block) return completed;
    if (got.end || got.error != 0) return completed + end_of_stream(got.error);
    find_places(got);
    completed += handle_frames();
    // A socket that gave less than there was room for is empty, most likely: no second call to ask.
    if (ended_ != nullptr || thrown_ || !got.filled) return completed;
    look_ahead();
    got = receive_once(false);
    ++counters_.receive_calls;
  }
}

// All that one call brought finds its place before a completion runs: one that submits or throws loses none of it.
void Connection::find_places(const ReceiveBuffer::Received& got) {
  if (direct_) direct_->rest = direct_->rest.subspan(got.direct);
  if (got.ahead != 0) take_ahead(got.ahead);
}

void Connection::take_ahead(std::size_t count) {
  const Direct ahead = std::exchange(ahead_, {});
  const auto scan = proto::scan_frame(receive_.bytes(), frame_limit());
  const bool expected = scan.kind == proto::Scan::Kind::incomplete && scan.header.request_id == ahead.id &&
                        is_read_data(scan.header) && !what_is_wrong(scan.header);
  if (!expected) return receive_.append(ahead.rest.first(count));
  receive_.consume(proto::frame_header_bytes);
  // Bytes come ahead only behind the last of those before them.
  if (direct_) landed_ = direct_->id;
  direct_ = Direct{ahead.id, ahead.rest.subspan(count)};
}

std::size_t Connection::complete_landed() {
  std::size_t completed = 0;
  if (landed_ != 0) completed += complete_read(std::exchange(landed_, 0));
  if (thrown_ || !direct_ || !direct_->rest.empty()) return completed;
  const std::uint64_t id = direct_->id;
  direct_.reset();
  return completed + complete_read(id);
}

std::size_t Connection::handle_frames() {
  std::size_t completed = complete_landed();
  while (ended_ == nullptr && !thrown_ && !direct_) {
    const auto bytes = receive_.bytes();
    const auto scan = proto::scan_frame(bytes, frame_limit());
    if (scan.kind == proto::Scan::Kind::broken) return completed + end_protocol(scan.fault.message);
    if (scan.kind == proto::Scan::Kind::frame) {
      completed += handle_frame(scan.header, scan.payload);
      receive_.consume(scan.frame_bytes);
      continue;
    }
    if (bytes.size() >= proto::frame_header_bytes) {
      if (auto wrong = what_is_wrong(scan.header)) return completed + end_protocol(*wrong);
      if (start_direct(scan.header, bytes.subspan(proto::frame_header_bytes))) break;
      receive_.reserve(scan.bytes_needed);
    }
    break;
  }
  return completed;
}

bool Connection::start_direct(const proto::FrameHeader& header, std::span<const std::byte> bytes) {
  if (!is_read_data(header)) return false;
  const auto into = pending(header.request_id).into;
  std::memcpy(into.data(), bytes.data(), bytes.size());
  direct_ = Direct{header.request_id, into.subspan(bytes.size())};
  receive_.consume(proto::frame_header_bytes + bytes.size());
  return true;
}

std::optional<std::string> Connection::what_is_wrong(const proto::FrameHeader& header) const {
  const auto name = [&] { return proto::to_string(header.operation) + " frame"; };
  const bool read_data = header.operation == proto::Operation::read && header.status == proto::Status::ok;
  if (!read_data && header.payload_bytes > small_payload_bytes_max)
    return name() + " announces payload_bytes=" + std::to_string(header.payload_bytes) + ", expected at most " +
           std::to_string(small_payload_bytes_max);
  if (header.flags == proto::flag_notice) return std::nullopt;
  if (header.flags != proto::flag_answer)
    return name() + " has flags=" + std::to_string(header.flags) + ", expected an answer or a notice";
  const std::uint64_t id = header.request_id;
  const bool in_flight =
      id >= first_id_ && id - first_id_ < admitted_ && !pending(id).done && pending(id).end_position <= send_.sent();
  if (!in_flight) return name() + " answers request id=" + std::to_string(id) + ", which is not in flight";
  const auto& request = pending(id);
  if (header.operation != request.operation)
    return name() + " answers request id=" + std::to_string(id) + ", which is a " + proto::to_string(request.operation);
  if (read_data && header.payload_bytes != request.into.size())
    return name() + " has length=" + std::to_string(header.payload_bytes) +
           ", asked for length=" + std::to_string(request.into.size());
  return std::nullopt;
}

std::size_t Connection::handle_frame(const proto::FrameHeader& header, std::span<const std::byte> payload) {
  if (auto wrong = what_is_wrong(header)) return end_protocol(*wrong);
  if (header.flags == proto::flag_notice) return handle_notice(header, payload);
  if (header.status != proto::Status::ok)
    return handle_error(header.request_id, header.operation, header.status, payload);
  if (header.operation != proto::Operation::read) return complete(header.request_id, {nullptr, payload});
  if (!payload.empty()) std::memcpy(pending(header.request_id).into.data(), payload.data(), payload.size());
  return complete_read(header.request_id);
}

std::size_t Connection::complete_read(std::uint64_t id) { return complete(id, {nullptr, pending(id).into}); }

std::size_t Connection::handle_error(std::uint64_t id, proto::Operation operation, proto::Status status,
                                     std::span<const std::byte> payload) {
  proto::ErrorText text;
  if (const auto fault = proto::decode(payload, text)) return end_protocol(fault->message);
  const auto error = error_of(operation, status, text.message);
  switch (error.errc()) {
    case Errc::connection_lost:
    case Errc::protocol_error:
    case Errc::timed_out: end(error.errc(), proto::to_string(operation), text.message); return deliver_end();
    case Errc::lease_lost:
      if (!lease_lost_) lease_lost_ = error;
      break;
    default: break;
  }
  return complete(id, {&error, {}});
}

std::size_t Connection::handle_notice(const proto::FrameHeader& header, std::span<const std::byte> payload) {
  const bool known = header.operation == proto::Operation::lease_lost || header.operation == proto::Operation::goodbye;
  // A notice of a later version is for those who know it.
  if (!known) return 0;
  proto::ErrorText text;
  if (const auto fault = proto::decode(payload, text)) return end_protocol(fault->message);
  switch (header.operation) {
    case proto::Operation::lease_lost:
      if (!lease_lost_)
        lease_lost_.emplace(Errc::lease_lost,
                            error_text(context_, proto::to_string(header.operation), base::visible(text.message)));
      return 0;
    case proto::Operation::goodbye: {
      // Before hello it is a refusal, of a kind of its own; later the session is over, whatever the reason is.
      const bool refused = !greeted_ || header.status == proto::Status::protocol_error;
      end(refused ? errc_of(header.status) : Errc::connection_lost, proto::to_string(header.operation), text.message);
      return deliver_end();
    }
    default: return 0;
  }
}

std::size_t Connection::complete(std::uint64_t id, const RawAnswer& raw) {
  auto& request = pending(id);
  // All books are closed before the completion runs: it may submit, and it may throw.
  const auto completion = std::move(request.completion);
  const auto operation = request.operation;
  request.done = true;
  --in_flight_;
  --outstanding_;
  in_flight_bytes_ -= request.cost_bytes;
  ++counters_.answers;
  forget_done();
  const auto undecoded = run(completion, raw);
  if (!undecoded) return 1;
  try {
    if (undecoded->fault) end(Errc::protocol_error, proto::to_string(operation), undecoded->fault->message);
  } catch (const std::exception&) {
    // Below.
  }
  if (ended_ == nullptr) end_out_of_memory();
  (void)run(completion, RawAnswer{ended_, {}});
  return 1 + deliver_end();
}

std::optional<Connection::Undecoded> Connection::run(const Completion& completion, const RawAnswer& raw) noexcept {
  completing_ = true;
  std::optional<Undecoded> undecoded;
  try {
    undecoded = completion(raw);
  } catch (...) {
    thrown_ = std::current_exception();
  }
  completing_ = false;
  return undecoded;
}

void Connection::forget_done() {
  const auto first = first_id_;
  while (!pending_.empty() && pending_.front().done) {
    pending_.pop_front();
    ++first_id_;
    --admitted_;
  }
  // The next one's time begins when it is the oldest: before, the daemon was at work on what came earlier.
  if (first_id_ != first && in_flight_ > 0) oldest_since_ = Clock::now();
}

std::size_t Connection::end_protocol(std::string_view message) {
  std::string text{message};
  if (!greeted_) text += "; is it a pageserverd that listens there?";
  end(Errc::protocol_error, "receive", text);
  return deliver_end();
}

std::size_t Connection::end_of_stream(int error) {
  if (error == ENOMEM) {
    end_out_of_memory();
    return deliver_end();
  }
  if (error == 0) error = write_failed_;
  std::string text =
      greeted_ ? "the daemon closed the connection" : "the daemon closed the connection before its hello";
  if (error != 0) text += " (" + system_text(error) + ")";
  if (direct_ || !receive_.bytes().empty()) text += " in the middle of a frame";
  if (in_flight_ > 0 && greeted_)
    text += ": " + std::to_string(in_flight_) + " unanswered requests may or may not have been applied";
  const auto operation = in_flight_ > 0 ? proto::to_string(pending_.front().operation) : std::string{"receive"};
  end(Errc::connection_lost, operation, text);
  return deliver_end();
}

}  // namespace pageserver::client
