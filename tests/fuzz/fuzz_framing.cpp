// Framing: a stream that arrives in pieces gives the same frames as one that arrives whole, and its end is the same.
#include "proto/framing.hpp"
#include "tests/fuzz/canonical.hpp"

using namespace pageserver::proto;

namespace {

/// What a receiver sees of a stream: how much of it were whole frames, how many, and how it went on.
struct Outcome {
  std::size_t frames = 0;
  std::size_t frames_bytes = 0;
  Scan::Kind end = Scan::Kind::incomplete;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void check_frame(std::span<const std::byte> bytes, const Scan& scan) {
  fuzz::require(scan.frame_bytes == frame_header_bytes + scan.header.payload_bytes, "a frame is header and payload");
  fuzz::require(scan.frame_bytes <= bytes.size(), "a frame is within the bytes");
  fuzz::require(scan.payload.data() == bytes.data() + frame_header_bytes, "the payload follows the header");
  Bytes header(frame_header_bytes);
  encode_header(std::span<std::byte, frame_header_bytes>(header), scan.header);
  fuzz::require(std::equal(header.begin(), header.end(), bytes.begin()), "a header encodes to the same bytes");
  if (const auto fault = check_request_header(scan.header)) {
    fuzz::check_fault(*fault);
  } else {
    fuzz::require(scan.header.request_id != 0 && is_known(scan.header.operation),
                  "a good request has id and operation");
  }
}

/// Takes the stream in pieces of `piece_bytes`, looking at each frame as soon as it may be there.
Outcome receive(std::span<const std::byte> stream, std::size_t piece_bytes, std::uint32_t payload_bytes_max) {
  Outcome outcome;
  std::size_t bytes_there = 0;
  while (true) {
    const auto rest = stream.first(bytes_there).subspan(outcome.frames_bytes);
    const Scan scan = scan_frame(rest, payload_bytes_max);
    outcome.end = scan.kind;
    if (scan.kind == Scan::Kind::broken) {
      fuzz::check_fault(scan.fault);
      return outcome;
    }
    if (scan.kind == Scan::Kind::frame) {
      check_frame(rest, scan);
      ++outcome.frames;
      outcome.frames_bytes += scan.frame_bytes;
      continue;
    }
    fuzz::require(scan.bytes_needed > rest.size(), "an incomplete frame needs more than is there");
    if (bytes_there == stream.size()) return outcome;
    bytes_there += std::min(piece_bytes, stream.size() - bytes_there);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto stream = std::as_bytes(std::span(data, size));
  for (const std::uint32_t payload_bytes_max : {std::uint32_t{0}, hello_payload_bytes_max, std::uint32_t{UINT32_MAX}}) {
    const Outcome whole = receive(stream, stream.size(), payload_bytes_max);
    fuzz::require(receive(stream, 1, payload_bytes_max) == whole, "bytes one at a time give the same frames");
    fuzz::require(receive(stream, 7, payload_bytes_max) == whole, "bytes in pieces give the same frames");
  }
  return 0;
}
