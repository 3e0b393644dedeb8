// Where one frame ends and the next begins, in bytes as they came from a stream. Pure: no I/O, no buffer of its own.
#pragma once

#include <span>

#include "proto/codec.hpp"

namespace pageserver::proto {

/// What stands at the front of `bytes`.
struct Scan {
  enum class Kind : std::uint8_t {
    incomplete,  ///< a frame's beginning, or nothing: `bytes_needed` in all before it is worth looking again
    frame,       ///< a whole frame: `header` and `payload`; the next begins at `frame_bytes`
    broken,      ///< no way to find the next frame: `fault` says why; the stream is over
  };
  Kind kind = Kind::incomplete;
  std::size_t bytes_needed = 0;
  std::size_t frame_bytes = 0;
  FrameHeader header;
  std::span<const std::byte> payload;  ///< points into `bytes`
  Fault fault;
};

/// Looks at the front of `bytes`. Broken: a wrong magic (seen as soon as its first wrong byte is there), or a payload
/// longer than `payload_bytes_max` (seen as soon as the header is there). Unknown operations, flags and statuses are
/// not broken: such a frame can be skipped, so it is a frame.
Scan scan_frame(std::span<const std::byte> bytes, std::uint32_t payload_bytes_max);

/// What a server refuses in a request's header although it could skip the frame: an answer or notice flag or an unknown
/// one, a status or reserved field that is not zero, a request id of 0, an unknown operation.
std::optional<Fault> check_request_header(const FrameHeader& header);

}  // namespace pageserver::proto
