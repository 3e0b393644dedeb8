// Requests: what clients send. The tables of PROTOCOL.md, "Messages", in their order.
#include "proto/codec.hpp"
#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t hello_request_fixed_bytes = 24;
constexpr std::size_t text_fixed_bytes = 8;
constexpr std::size_t create_fixed_bytes = 16;
constexpr std::size_t open_fixed_bytes = 40;
constexpr std::size_t read_request_bytes = 16;
constexpr std::size_t write_fixed_bytes = 8;
constexpr std::size_t span_request_bytes = 16;

void encode_empty_request(Bytes& out, std::uint64_t request_id, Operation operation) {
  FrameWriter(out, request_header(operation, request_id, 0));
}

Decoded decode_number(std::string_view what, std::span<const std::byte> payload, std::uint64_t& value) {
  if (payload.size() != sizeof value) return wrong_size(what, payload.size(), "", sizeof value);
  value = load<std::uint64_t>(payload.data());
  return {};
}

void encode_number(Bytes& out, std::uint64_t request_id, Operation operation, std::uint64_t value) {
  FrameWriter(out, request_header(operation, request_id, sizeof value)).number(value);
}

Decoded decode_span(std::string_view what, std::span<const std::byte> payload, std::uint64_t& offset,
                    std::uint64_t& length) {
  if (payload.size() != span_request_bytes) return wrong_size(what, payload.size(), "", span_request_bytes);
  offset = load<std::uint64_t>(payload.data());
  length = load<std::uint64_t>(payload.data() + 8);
  return {};
}

void encode_span(Bytes& out, std::uint64_t request_id, Operation operation, std::uint64_t offset,
                 std::uint64_t length) {
  FrameWriter(out, request_header(operation, request_id, span_request_bytes)).number(offset).number(length);
}

}  // namespace

Decoded decode(std::span<const std::byte> payload, HelloRequest& message) {
  PayloadReader in("hello request", payload);
  if (!in.at_least(hello_request_fixed_bytes)) return in.result();
  message.version_min = in.number<std::uint16_t>();
  message.version_max = in.number<std::uint16_t>();
  message.payload_bytes_max = in.number<std::uint32_t>();
  message.features = in.number<std::uint64_t>();
  const auto client_name_bytes = in.number<std::uint16_t>();
  const auto credentials_bytes = in.number<std::uint16_t>();
  in.reserved(4);
  if (!in.exactly(hello_request_fixed_bytes + client_name_bytes + credentials_bytes)) return in.result();
  message.client_name = in.name(client_name_bytes, "client name");
  message.credentials = in.text(credentials_bytes, credentials_bytes_max, "credentials");
  if (message.version_min == 0 || message.version_min > message.version_max) {
    in.refuse(Status::protocol_error, "version range " + std::to_string(message.version_min) + " to " +
                                          std::to_string(message.version_max) + " is not a range from 1 upwards");
  }
  if (message.payload_bytes_max < client_payload_bytes_min) {
    in.refuse(Status::invalid_argument, "announces payload_bytes_max=" + std::to_string(message.payload_bytes_max) +
                                            ", at least " + std::to_string(client_payload_bytes_min) + " is needed");
  }
  if (credentials_bytes != 0 && (message.features & feature_identity) == 0) {
    in.refuse(Status::unsupported, "carries " + std::to_string(credentials_bytes) +
                                       " bytes of credentials and does not offer the feature bit " +
                                       std::to_string(feature_identity) + ", which they need");
  }
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const HelloRequest& message) {
  const SendableText client_name(message.client_name, name_bytes_max);
  assert(message.credentials.size() <= credentials_bytes_max);
  assert(message.credentials.empty() || (message.features & feature_identity) != 0);
  FrameWriter(out, request_header(Operation::hello, request_id,
                                  hello_request_fixed_bytes + client_name.size() + message.credentials.size()))
      .number(message.version_min)
      .number(message.version_max)
      .number(message.payload_bytes_max)
      .number(message.features)
      .length(client_name.size())
      .length(message.credentials.size())
      .reserved(4)
      .text(client_name.view())
      .text(message.credentials);
}

Decoded decode(std::span<const std::byte> payload, PingRequest& message) {
  PayloadReader in("ping request", payload);
  message.echo = in.echo();
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const PingRequest& message) {
  assert(message.echo.size() <= ping_bytes_max);
  append_frame(out, request_header(Operation::ping, request_id, message.echo.size()), {}, message.echo);
}

Decoded decode(std::span<const std::byte> payload, ListRequest& message) {
  PayloadReader in("list request", payload);
  if (!in.at_least(text_fixed_bytes)) return in.result();
  const auto after_bytes = in.number<std::uint16_t>();
  in.reserved(6);
  if (!in.exactly(text_fixed_bytes + after_bytes)) return in.result();
  message.after = in.text(after_bytes, store_name_bytes_max, "name");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const ListRequest& message) {
  assert(message.after.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::list, request_id, text_fixed_bytes + message.after.size()))
      .length(message.after.size())
      .reserved(6)
      .text(message.after);
}

Decoded decode(std::span<const std::byte> payload, CreateRequest& message) {
  PayloadReader in("create request", payload);
  if (!in.at_least(create_fixed_bytes)) return in.result();
  message.pages = in.number<std::uint64_t>();
  const auto store_bytes = in.number<std::uint16_t>();
  in.reserved(6);
  if (!in.exactly(create_fixed_bytes + store_bytes)) return in.result();
  message.store = in.store_name(store_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const CreateRequest& message) {
  assert(message.store.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::create, request_id, create_fixed_bytes + message.store.size()))
      .number(message.pages)
      .length(message.store.size())
      .reserved(6)
      .text(message.store);
}

Decoded decode(std::span<const std::byte> payload, RemoveRequest& message) {
  PayloadReader in("remove request", payload);
  if (!in.at_least(text_fixed_bytes)) return in.result();
  const auto store_bytes = in.number<std::uint16_t>();
  in.reserved(6);
  if (!in.exactly(text_fixed_bytes + store_bytes)) return in.result();
  message.store = in.store_name(store_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const RemoveRequest& message) {
  assert(message.store.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::remove, request_id, text_fixed_bytes + message.store.size()))
      .length(message.store.size())
      .reserved(6)
      .text(message.store);
}

Decoded decode(std::span<const std::byte> payload, OpenRequest& message) {
  PayloadReader in("open request", payload);
  if (!in.at_least(open_fixed_bytes)) return in.result();
  message.access = in.choice(Access::fork, "access");
  message.view = in.choice(View::pinned, "view");
  message.publish = in.choice(Publish::on_flush, "publish");
  in.reserved(1);
  message.wait_ms = in.number<std::uint32_t>();
  for (std::uint8_t& byte : message.resume_token) byte = in.number<std::uint8_t>();
  message.last_request_id = in.number<std::uint64_t>();
  const auto store_bytes = in.number<std::uint16_t>();
  const auto session_name_bytes = in.number<std::uint16_t>();
  in.reserved(4);
  if (!in.exactly(open_fixed_bytes + store_bytes + session_name_bytes)) return in.result();
  message.store = in.store_name(store_bytes);
  message.session_name = in.name(session_name_bytes, "session name");
  if (message.resume_token == ResumeToken{} && message.last_request_id != 0) {
    in.refuse(Status::protocol_error, "has last_request_id=" + std::to_string(message.last_request_id) +
                                          " and no resume_token: both belong to a session that goes on");
  }
  if (message.view == View::pinned && message.access != Access::read) {
    in.refuse(Status::invalid_argument, "asks for view pinned, which only access read has");
  }
  if (message.publish == Publish::on_flush && message.access != Access::write) {
    in.refuse(Status::invalid_argument, "asks for publish on_flush, which only access write has");
  }
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const OpenRequest& message) {
  const SendableText session_name(message.session_name, name_bytes_max);
  assert(message.store.size() <= store_name_bytes_max);
  assert(message.resume_token != ResumeToken{} || message.last_request_id == 0);
  FrameWriter(
      out, request_header(Operation::open, request_id, open_fixed_bytes + message.store.size() + session_name.size()))
      .choice(message.access)
      .choice(message.view)
      .choice(message.publish)
      .reserved(1)
      .number(message.wait_ms)
      .bytes(std::as_bytes(std::span(message.resume_token)))
      .number(message.last_request_id)
      .length(message.store.size())
      .length(session_name.size())
      .reserved(4)
      .text(message.store)
      .text(session_name.view());
}

Decoded decode(std::span<const std::byte> payload, SizeRequest&) { return decode_nothing("size request", payload); }
void encode(Bytes& out, std::uint64_t request_id, const SizeRequest&) {
  encode_empty_request(out, request_id, Operation::size);
}

Decoded decode(std::span<const std::byte> payload, GrowRequest& message) {
  return decode_number("grow request", payload, message.new_pages);
}
void encode(Bytes& out, std::uint64_t request_id, const GrowRequest& message) {
  encode_number(out, request_id, Operation::grow, message.new_pages);
}

Decoded decode(std::span<const std::byte> payload, ReadRequest& message) {
  if (payload.size() != read_request_bytes) return wrong_size("read request", payload.size(), "", read_request_bytes);
  message.offset = load<std::uint64_t>(payload.data());
  message.length = load<std::uint32_t>(payload.data() + 8);
  const auto reserved = load<std::uint32_t>(payload.data() + 12);
  if (reserved != 0) return Fault{Status::protocol_error, "read request bytes 12 to 15 are reserved and must be 0"};
  return {};
}

void encode(Bytes& out, std::uint64_t request_id, const ReadRequest& message) {
  FrameWriter(out, request_header(Operation::read, request_id, read_request_bytes))
      .number(message.offset)
      .number(message.length)
      .reserved(4);
}

Decoded decode(std::span<const std::byte> payload, WriteRequest& message) {
  if (payload.size() < write_fixed_bytes) {
    return wrong_size("write request", payload.size(), "at least ", write_fixed_bytes);
  }
  message.offset = load<std::uint64_t>(payload.data());
  message.data = payload.subspan(write_fixed_bytes);
  return {};
}

void encode(Bytes& out, std::uint64_t request_id, const WriteRequest& message) {
  std::byte fixed[write_fixed_bytes];
  store(fixed, message.offset);
  append_frame(out, request_header(Operation::write, request_id, sizeof fixed + message.data.size()), fixed,
               message.data);
}

Decoded decode(std::span<const std::byte> payload, ZeroRequest& message) {
  return decode_span("zero request", payload, message.offset, message.length);
}
void encode(Bytes& out, std::uint64_t request_id, const ZeroRequest& message) {
  encode_span(out, request_id, Operation::zero, message.offset, message.length);
}

Decoded decode(std::span<const std::byte> payload, DataRangesRequest& message) {
  return decode_span("data_ranges request", payload, message.offset, message.length);
}
void encode(Bytes& out, std::uint64_t request_id, const DataRangesRequest& message) {
  encode_span(out, request_id, Operation::data_ranges, message.offset, message.length);
}

Decoded decode(std::span<const std::byte> payload, FlushRequest&) { return decode_nothing("flush request", payload); }
void encode(Bytes& out, std::uint64_t request_id, const FlushRequest&) {
  encode_empty_request(out, request_id, Operation::flush);
}

Decoded decode(std::span<const std::byte> payload, CommitRequest&) { return decode_nothing("commit request", payload); }
void encode(Bytes& out, std::uint64_t request_id, const CommitRequest&) {
  encode_empty_request(out, request_id, Operation::commit);
}

Decoded decode(std::span<const std::byte> payload, DiscardRequest&) {
  return decode_nothing("discard request", payload);
}
void encode(Bytes& out, std::uint64_t request_id, const DiscardRequest&) {
  encode_empty_request(out, request_id, Operation::discard);
}

Decoded decode(std::span<const std::byte> payload, RefreshRequest&) {
  return decode_nothing("refresh request", payload);
}
void encode(Bytes& out, std::uint64_t request_id, const RefreshRequest&) {
  encode_empty_request(out, request_id, Operation::refresh);
}

Decoded decode(std::span<const std::byte> payload, StatRequest&) { return decode_nothing("stat request", payload); }
void encode(Bytes& out, std::uint64_t request_id, const StatRequest&) {
  encode_empty_request(out, request_id, Operation::stat);
}

Decoded decode(std::span<const std::byte> payload, BreakLeaseRequest& message) {
  return decode_number("break_lease request", payload, message.epoch);
}
void encode(Bytes& out, std::uint64_t request_id, const BreakLeaseRequest& message) {
  encode_number(out, request_id, Operation::break_lease, message.epoch);
}

Decoded decode(std::span<const std::byte> payload, RingRequest& message) {
  return decode_number("ring request", payload, message.direction_bytes);
}
void encode(Bytes& out, std::uint64_t request_id, const RingRequest& message) {
  encode_number(out, request_id, Operation::ring, message.direction_bytes);
}

Decoded decode(std::span<const std::byte> payload, CloseRequest&) { return decode_nothing("close request", payload); }
void encode(Bytes& out, std::uint64_t request_id, const CloseRequest&) {
  encode_empty_request(out, request_id, Operation::close);
}

}  // namespace pageserver::proto
