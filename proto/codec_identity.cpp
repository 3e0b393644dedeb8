// whoami: who one is, and what one may do.
#include "proto/codec.hpp"
#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t request_fixed_bytes = 8;
constexpr std::size_t answer_fixed_bytes = 8;

}  // namespace

Decoded decode(std::span<const std::byte> payload, WhoamiRequest& message) {
  PayloadReader in("whoami request", payload);
  if (!in.at_least(request_fixed_bytes)) return in.result();
  const auto store_bytes = in.number<std::uint16_t>();
  in.reserved(6);
  if (!in.exactly(request_fixed_bytes + store_bytes)) return in.result();
  message.store = store_bytes == 0 ? std::string_view() : in.store_name(store_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const WhoamiRequest& message) {
  assert(message.store.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::whoami, request_id, request_fixed_bytes + message.store.size()))
      .length(message.store.size())
      .reserved(6)
      .text(message.store);
}

Decoded decode(std::span<const std::byte> payload, WhoamiAnswer& message) {
  PayloadReader in("whoami answer", payload);
  if (!in.at_least(answer_fixed_bytes)) return in.result();
  message.rights = in.number<std::uint32_t>();
  const auto identity_bytes = in.number<std::uint16_t>();
  const auto why_bytes = in.number<std::uint16_t>();
  if (!in.exactly(answer_fixed_bytes + identity_bytes + why_bytes)) return in.result();
  message.identity = in.text(identity_bytes, name_bytes_max, "identity");
  message.why = in.text(why_bytes, message_bytes_max, "why");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const WhoamiAnswer& message) {
  const SendableText identity(message.identity, name_bytes_max);
  const SendableText why(message.why, message_bytes_max);
  FrameWriter(out, answer_header(Operation::whoami, request_id, answer_fixed_bytes + identity.size() + why.size()))
      .number(message.rights)
      .length(identity.size())
      .length(why.size())
      .text(identity.view())
      .text(why.view());
}

}  // namespace pageserver::proto
