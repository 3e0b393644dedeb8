#include "proto/framing.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "proto/byte_order.hpp"

namespace pageserver::proto {
namespace {

constexpr std::byte magic_bytes[] = {std::byte{'P'}, std::byte{'G'}, std::byte{'S'}, std::byte{'1'}};
static_assert(frame_magic == 0x31534750);

FrameHeader decode_header(const std::byte* at) noexcept {
  return {static_cast<Operation>(load<std::uint16_t>(at + 4)),
          load<std::uint16_t>(at + 6),
          load<std::uint64_t>(at + 8),
          load<std::uint32_t>(at + 16),
          static_cast<Status>(load<std::uint16_t>(at + 20)),
          load<std::uint16_t>(at + 22)};
}

/// Only the few bytes that are there, in hex, as they came.
[[gnu::cold, gnu::noinline]] Fault wrong_magic(std::span<const std::byte> bytes) {
  std::string message = "frame begins with bytes";
  for (const std::byte b : bytes.first(std::min(bytes.size(), sizeof magic_bytes))) {
    message += ' ';
    base::append_hex(message, b);
  }
  return {Status::protocol_error, message + ", expected 50 47 53 31: not this protocol, or a wrong length before"};
}

[[gnu::cold, gnu::noinline]] Fault too_long(const FrameHeader& header, std::uint32_t payload_bytes_max) {
  return {Status::limit_exceeded, to_string(header.operation) +
                                      " frame announces payload_bytes=" + std::to_string(header.payload_bytes) +
                                      ", at most payload_bytes_max=" + std::to_string(payload_bytes_max)};
}

[[gnu::cold, gnu::noinline]] Fault refuse(const FrameHeader& header, Status status, const std::string& why) {
  return {status, to_string(header.operation) + " request " + why};
}

}  // namespace

Scan scan_frame(std::span<const std::byte> bytes, std::uint32_t payload_bytes_max) {
  Scan scan;
  const auto seen = bytes.first(std::min(bytes.size(), sizeof magic_bytes));
  if (!std::equal(seen.begin(), seen.end(), magic_bytes)) {
    scan.kind = Scan::Kind::broken;
    scan.fault = wrong_magic(bytes);
    return scan;
  }
  if (bytes.size() < frame_header_bytes) {
    scan.bytes_needed = frame_header_bytes;
    return scan;
  }
  scan.header = decode_header(bytes.data());
  if (scan.header.payload_bytes > payload_bytes_max) {
    scan.kind = Scan::Kind::broken;
    scan.fault = too_long(scan.header, payload_bytes_max);
    return scan;
  }
  const std::uint64_t frame_bytes = frame_header_bytes + std::uint64_t{scan.header.payload_bytes};
  scan.bytes_needed = frame_bytes;
  if (bytes.size() < frame_bytes) return scan;
  scan.kind = Scan::Kind::frame;
  scan.frame_bytes = frame_bytes;
  scan.payload = bytes.subspan(frame_header_bytes, scan.header.payload_bytes);
  return scan;
}

std::optional<Fault> check_request_header(const FrameHeader& header) {
  if (header.flags != 0) {
    return refuse(header, Status::protocol_error, "has flags=" + std::to_string(header.flags) + ", expected 0");
  }
  if (header.status != Status::ok) {
    return refuse(header, Status::protocol_error,
                  "has status=" + std::to_string(static_cast<unsigned>(header.status)) + ", expected 0");
  }
  if (header.reserved != 0) {
    return refuse(header, Status::protocol_error,
                  "has reserved=" + std::to_string(header.reserved) + " in its header, expected 0");
  }
  if (header.request_id == 0) {
    return refuse(header, Status::protocol_error, "has request_id=0, expected 1 or more");
  }
  if (!is_known(header.operation)) {
    return refuse(header, Status::unsupported,
                  "is unknown to protocol version " + std::to_string(protocol_version) + " and was skipped");
  }
  if (is_notice(header.operation)) {
    return refuse(header, Status::unsupported, "is a notice that only a server sends, and was skipped");
  }
  return {};
}

}  // namespace pageserver::proto
