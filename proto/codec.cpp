// What all messages have in common: headers, errors, notices.
#include "proto/codec.hpp"

#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {

void encode_header(std::span<std::byte, frame_header_bytes> out, const FrameHeader& header) {
  store(out.data(), frame_magic);
  store(out.data() + 4, static_cast<std::uint16_t>(header.operation));
  store(out.data() + 6, header.flags);
  store(out.data() + 8, header.request_id);
  store(out.data() + 16, header.payload_bytes);
  store(out.data() + 20, static_cast<std::uint16_t>(header.status));
  store(out.data() + 22, header.reserved);
}

namespace {

void encode_text_frame(Bytes& out, FrameHeader header, std::string_view message) {
  const SendableText text(message, message_bytes_max);
  header.payload_bytes = static_cast<std::uint32_t>(text.size());
  FrameWriter(out, header).text(text.view());
}

}  // namespace

void encode_error(Bytes& out, std::uint64_t request_id, Operation operation, Status status, std::string_view message) {
  assert(status != Status::ok);
  encode_text_frame(out, {operation, flag_answer, request_id, 0, status, 0}, message);
}

void encode_notice(Bytes& out, Operation operation, Status status, std::string_view message) {
  assert(is_notice(operation));
  encode_text_frame(out, {operation, flag_notice, 0, 0, status, 0}, message);
}

Decoded decode(std::span<const std::byte> payload, ErrorText& message) {
  PayloadReader in("error text", payload);
  message.message = in.text(payload.size(), message_bytes_max, "message");
  return in.result();
}

}  // namespace pageserver::proto
