// takeover: a store whose image others can reach is served here from now on.
#include "proto/codec.hpp"
#include "proto/frame_writer.hpp"
#include "proto/payload_reader.hpp"

namespace pageserver::proto {
namespace {

constexpr std::size_t takeover_request_bytes = 8;
constexpr std::size_t takeover_answer_bytes = 16;
constexpr std::uint8_t flag_holder_is_dead = 1;
constexpr std::uint8_t flag_was_here = 1;

}  // namespace

Decoded decode(std::span<const std::byte> payload, TakeoverRequest& message) {
  PayloadReader in("takeover request", payload);
  if (!in.at_least(takeover_request_bytes)) return in.result();
  const auto store_bytes = in.number<std::uint16_t>();
  message.holder_is_dead = (in.flags(flag_holder_is_dead) & flag_holder_is_dead) != 0;
  in.reserved(5);
  if (!in.exactly(takeover_request_bytes + store_bytes)) return in.result();
  message.store = in.store_name(store_bytes);
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const TakeoverRequest& message) {
  assert(message.store.size() <= store_name_bytes_max);
  FrameWriter(out, request_header(Operation::takeover, request_id, takeover_request_bytes + message.store.size()))
      .length(message.store.size())
      .number(static_cast<std::uint8_t>(message.holder_is_dead ? flag_holder_is_dead : 0))
      .reserved(5)
      .text(message.store);
}

Decoded decode(std::span<const std::byte> payload, TakeoverAnswer& message) {
  PayloadReader in("takeover answer", payload);
  if (!in.at_least(takeover_answer_bytes)) return in.result();
  message.took_ms = in.number<std::uint64_t>();
  const auto holder_bytes = in.number<std::uint16_t>();
  message.was_here = (in.flags(flag_was_here) & flag_was_here) != 0;
  in.reserved(5);
  if (!in.exactly(takeover_answer_bytes + holder_bytes)) return in.result();
  message.holder = in.text(holder_bytes, message_bytes_max, "holder");
  return in.result();
}

void encode(Bytes& out, std::uint64_t request_id, const TakeoverAnswer& message) {
  const SendableText holder(message.holder, message_bytes_max);
  FrameWriter(out, answer_header(Operation::takeover, request_id, takeover_answer_bytes + holder.size()))
      .number(message.took_ms)
      .length(holder.size())
      .number(static_cast<std::uint8_t>(message.was_here ? flag_was_here : 0))
      .reserved(5)
      .text(holder.view());
}

}  // namespace pageserver::proto
