// What comes in: bytes to frames, frames to the requests that they answer.
//
// The life of a request: enqueue() puts it into the RequestQueue, admit() lets its frame out, its answer comes here,
// what_is_wrong() holds the answer's header to what was asked, complete() closes the books and runs its completion. The
// payload of a large read is received straight into the caller's buffer, see DirectReads.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/error_text.hpp"
#include "proto/library_values.hpp"

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
  return is_greeted() ? server_.request_bytes_max + proto::payload_overhead_bytes : proto::hello_payload_bytes_max;
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
    if (ended() != nullptr || completions_.has_thrown() || !got.filled) return completed;
    look_ahead();
    got = receive_once(false);
    ++counters_.receive_calls;
  }
}

// All that one call brought finds its place before a completion runs: one that submits or throws loses none of it.
void Connection::find_places(const ReceiveBuffer::Received& got) {
  direct_.fill(got.direct);
  if (got.ahead != 0) take_expected(got.ahead);
}

void Connection::take_expected(std::size_t count) {
  const auto expected = direct_.take_expected();
  const auto scan = proto::scan_frame(receive_.bytes(), frame_limit());
  const bool came = scan.kind == proto::Scan::Kind::incomplete && scan.header.request_id == expected.id &&
                    is_read_data(scan.header) && !what_is_wrong(scan.header);
  if (!came) return receive_.append(expected.rest.first(count));
  receive_.consume(proto::frame_header_bytes);
  direct_.begin_expected(expected, count);
}

std::size_t Connection::complete_landed() {
  std::size_t completed = 0;
  while (!completions_.has_thrown()) {
    const std::uint64_t id = direct_.take_landed();
    if (id == 0) break;
    completed += complete_read(id);
  }
  return completed;
}

std::size_t Connection::handle_frames() {
  std::size_t completed = complete_landed();
  while (ended() == nullptr && !completions_.has_thrown() && !direct_.has_current() && !keeps_rest_) {
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
  const auto into = requests_.at(header.request_id).into;
  std::memcpy(into.data(), bytes.data(), bytes.size());
  direct_.begin(header.request_id, into.subspan(bytes.size()));
  receive_.consume(proto::frame_header_bytes + bytes.size());
  return true;
}

std::optional<std::string> Connection::what_is_wrong(const proto::FrameHeader& header) const {
  const auto name = [&] { return proto::to_string(header.operation) + " frame"; };
  const bool read_data = header.operation == proto::Operation::read && header.status == proto::Status::ok;
  if (!read_data && header.payload_bytes > small_payload_bytes_max)
    return name() + " announces payload_bytes=" + std::to_string(header.payload_bytes) + ", expected at most " +
           std::to_string(small_payload_bytes_max);
  if (header.reserved != 0)
    return name() + " has reserved=" + std::to_string(header.reserved) + " in its header, expected 0";
  if (header.flags == proto::flag_notice) return std::nullopt;
  if (header.flags != proto::flag_answer)
    return name() + " has flags=" + std::to_string(header.flags) + ", expected an answer or a notice";
  const std::uint64_t id = header.request_id;
  if (is_replay(id)) return std::nullopt;
  if (!requests_.is_in_flight(id, send_.sent()))
    return name() + " answers request id=" + std::to_string(id) + ", which is not in flight";
  const auto& request = requests_.at(id);
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
  if (is_replay(header.request_id)) return handle_replayed(header, payload);
  if (header.status != proto::Status::ok)
    return handle_error(header.request_id, header.operation, header.status, payload);
  if (header.operation != proto::Operation::read) return complete(header.request_id, {nullptr, payload});
  if (!payload.empty()) std::memcpy(requests_.at(header.request_id).into.data(), payload.data(), payload.size());
  return complete_read(header.request_id);
}

std::size_t Connection::complete_read(std::uint64_t id) { return complete(id, {nullptr, requests_.at(id).into}); }

std::size_t Connection::handle_error(std::uint64_t id, proto::Operation operation, proto::Status status,
                                     std::span<const std::byte> payload) {
  proto::ErrorText text;
  if (const auto fault = proto::decode(payload, text)) return end_protocol(fault->message);
  const auto error = error_of(operation, status, text.message);
  if (operation == proto::Operation::open) open_refusal_ = status;
  if (operation == proto::Operation::open && refusal_ != nullptr) *refusal_ = status;
  switch (error.errc()) {
    case Errc::connection_lost:
    case Errc::protocol_error:
    case Errc::timed_out: end(error.errc(), proto::to_string(operation), text.message); return deliver_end();
    case Errc::lease_lost: end_.lose_lease(error); break;
    default: break;
  }
  return complete(id, {&error, {}});
}

std::size_t Connection::handle_notice(const proto::FrameHeader& header, std::span<const std::byte> payload) {
  const bool known = header.operation == proto::Operation::lease_lost || header.operation == proto::Operation::goodbye;
  // A client ignores notices of later versions.
  if (!known) return 0;
  proto::ErrorText text;
  if (const auto fault = proto::decode(payload, text)) return end_protocol(fault->message);
  switch (header.operation) {
    case proto::Operation::lease_lost:
      if (!end_.has_lost_lease())
        end_.lose_lease(
            {Errc::lease_lost, error_text(context_, proto::to_string(header.operation), base::visible(text.message))});
      return 0;
    case proto::Operation::goodbye: {
      if (outlives_stop(header.status)) return 0;  // the end of the stream follows
      // Before hello it is a refusal, of a kind of its own; later the session is over, whatever the reason is.
      const bool refused = !is_greeted() || header.status == proto::Status::protocol_error;
      end(refused ? proto::errc_of(header.status) : Errc::connection_lost, proto::to_string(header.operation),
          text.message);
      return deliver_end();
    }
    default: return 0;
  }
}

std::size_t Connection::complete(std::uint64_t id, const RawAnswer& raw) {
  // All books are closed before the completion runs: it may submit, and it may throw.
  const auto operation = requests_.at(id).operation;
  if (resumable_) note_answered(id, raw.error == nullptr);
  const auto completion = requests_.finish(id);
  is_closed_ = is_closed_ || operation == proto::Operation::close;
  ++counters_.answers;
  const auto undecoded = completions_.run(completion, raw);
  if (!undecoded) return 1;
  try {
    if (undecoded->fault) end(Errc::protocol_error, proto::to_string(operation), undecoded->fault->message);
  } catch (const std::exception&) {
    // Below.
  }
  if (ended() == nullptr) end_out_of_memory();
  (void)completions_.run(completion, RawAnswer{ended(), {}});
  return 1 + deliver_end();
}

std::size_t Connection::end_protocol(std::string_view message) {
  std::string text{message};
  if (!is_greeted()) text += "; is it a pageserverd that listens there?";
  end(Errc::protocol_error, "receive", text);
  return deliver_end();
}

std::size_t Connection::end_of_stream(int error) {
  if (error == ENOMEM) {
    end_out_of_memory();
    return deliver_end();
  }
  if (error == 0) error = send_.error();
  std::string text =
      is_greeted() ? "the daemon closed the connection" : "the daemon closed the connection before its hello";
  if (const auto fault = tls_ ? tls_->fault() : std::string{}; !fault.empty())
    text += " (" + fault + ")";
  else if (error != 0)
    text += " (" + system_text(error) + ")";
  if (direct_.has_current() || !receive_.bytes().empty()) text += " in the middle of a frame";
  if (requests_.in_flight() > 0 && is_greeted())
    text += ": " + std::to_string(requests_.in_flight()) + " unanswered requests may or may not have been applied";
  const auto operation =
      requests_.in_flight() > 0 ? proto::to_string(requests_.oldest().operation) : std::string{"receive"};
  if (is_greeted() && come_back(operation, text)) return 0;
  end(Errc::connection_lost, operation, text);
  return deliver_end();
}

}  // namespace pageserver::client
