// Puts one frame together at the end of a buffer whose room is made once.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>
#include <string_view>

#include "proto/byte_order.hpp"
#include "proto/codec.hpp"

namespace pageserver::proto {

/// Makes room for `bytes` more without giving up the doubling that keeps a batch of frames linear.
inline void make_room(Bytes& out, std::size_t bytes) {
  if (out.capacity() - out.size() < bytes) out.reserve(std::max(out.size() + bytes, 2 * out.capacity()));
}

inline FrameHeader request_header(Operation operation, std::uint64_t request_id, std::size_t payload_bytes) {
  assert(payload_bytes <= UINT32_MAX);
  return {operation, 0, request_id, static_cast<std::uint32_t>(payload_bytes), Status::ok, 0};
}

inline FrameHeader answer_header(Operation operation, std::uint64_t request_id, std::size_t payload_bytes) {
  FrameHeader header = request_header(operation, request_id, payload_bytes);
  header.flags = flag_answer;
  return header;
}

/// Exactly `header.payload_bytes` must be written, in order.
class FrameWriter {
public:
  FrameWriter(Bytes& out, const FrameHeader& header) {
    const std::size_t frame_bytes = frame_header_bytes + header.payload_bytes;
    make_room(out, frame_bytes);
    const std::size_t start = out.size();
    out.resize(start + frame_bytes);
    std::byte* const frame = out.data() + start;
    encode_header(std::span<std::byte, frame_header_bytes>(frame, frame_header_bytes), header);
    rest_ = std::span(frame, frame_bytes).subspan(frame_header_bytes);
  }
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;
  ~FrameWriter() { assert(rest_.empty()); }

  template <std::unsigned_integral Number>
  FrameWriter& number(Number value) {
    store(take(sizeof value), value);
    return *this;
  }
  template <class Enum>
  FrameWriter& choice(Enum value) {
    return number(static_cast<std::uint8_t>(value));
  }
  FrameWriter& length(std::size_t text_bytes) { return number(static_cast<std::uint16_t>(text_bytes)); }
  FrameWriter& version(const Version& value) { return number(value.incarnation).number(value.number); }
  /// The room is zero already.
  FrameWriter& reserved(std::size_t bytes) {
    take(bytes);
    return *this;
  }
  FrameWriter& bytes(std::span<const std::byte> data) {
    if (!data.empty()) std::memcpy(take(data.size()), data.data(), data.size());
    return *this;
  }
  FrameWriter& text(std::string_view value) { return bytes(std::as_bytes(std::span(value))); }

private:
  std::byte* take(std::size_t bytes) {
    assert(bytes <= rest_.size());
    std::byte* const taken = rest_.data();
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  std::span<std::byte> rest_;
};

/// A frame whose payload is `fixed` and then `data`, which may be large: its bytes are written once, not zeroed first.
inline void append_frame(Bytes& out, const FrameHeader& header, std::span<const std::byte> fixed,
                         std::span<const std::byte> data) {
  assert(header.payload_bytes == fixed.size() + data.size());
  make_room(out, frame_header_bytes + header.payload_bytes);
  const std::size_t start = out.size();
  out.resize(start + frame_header_bytes + fixed.size());
  encode_header(std::span<std::byte, frame_header_bytes>(out.data() + start, frame_header_bytes), header);
  if (!fixed.empty()) std::memcpy(out.data() + start + frame_header_bytes, fixed.data(), fixed.size());
  out.insert(out.end(), data.begin(), data.end());
}

}  // namespace pageserver::proto
