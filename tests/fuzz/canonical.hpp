// What every decoder promises, as a fuzz target checks it.
#pragma once

#include <algorithm>

#include "tests/fuzz/require.hpp"
#include "tests/unit/proto/all_messages.hpp"

namespace pageserver::proto::fuzz {

using pageserver::fuzz::require;

inline void check_fault(const Fault& fault) {
  require(fault.status != Status::ok, "a fault has a status");
  require(!fault.message.empty(), "a fault has a text");
  require(fault.message.size() <= message_bytes_max, "a fault's text fits into an error answer");
  require(is_utf8(fault.message), "a fault's text is UTF-8");
}

/// Those in which a later version may say more, which is passed over.
template <class Message>
constexpr bool may_say_more = std::is_same_v<Message, SessionsAnswer> || std::is_same_v<Message, KickAnswer>;

/// Input: the operation's number in one byte, then a payload. What decodes must encode to the same bytes again.
template <class Entries>
void check_payload(std::span<const std::byte> input) {
  if (input.empty()) return;
  const auto payload = input.subspan(1);
  test::with_operation<Entries>(static_cast<Operation>(input[0]), [&](auto entry) {
    typename decltype(entry)::Message message;
    if (const Decoded fault = decode(payload, message)) return check_fault(*fault);
    Bytes frame;
    encode(frame, 1, message);
    if (may_say_more<typename decltype(entry)::Message>)
      return require(frame.size() <= frame_header_bytes + payload.size(), "what is passed over is not sent");
    require(frame.size() == frame_header_bytes + payload.size() &&
                std::equal(payload.begin(), payload.end(), frame.begin() + frame_header_bytes),
            "what decodes encodes to the same bytes");
  });
}

}  // namespace pageserver::proto::fuzz
