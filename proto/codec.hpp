// Bytes to messages and back. Pure: no I/O, no exceptions of its own, no allocation by a number that was not checked.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/messages.hpp"

namespace pageserver::proto {

struct FrameHeader {
  Operation operation{};  ///< may be a value that this version does not know
  std::uint16_t flags = 0;
  std::uint64_t request_id = 0;
  std::uint32_t payload_bytes = 0;
  Status status = Status::ok;  ///< may be a value that this version does not know
  std::uint16_t reserved = 0;  ///< sent as 0; in a session that can be resumed the acknowledged mark, see PROTOCOL.md
};

/// Why a payload was refused: the status to answer with, and a text that names the numbers.
struct Fault {
  Status status = Status::protocol_error;
  std::string message;
};

/// Decodes the payload of one frame into `message`; a fault leaves `message` unspecified. Texts and spans in `message`
/// point into `payload`. Trailing bytes, bad UTF-8, unknown enum values, counts that exceed the payload or a limit
/// of wire.hpp, and reserved fields that are not zero are faults.
using Decoded = std::optional<Fault>;  // empty: decoded

[[nodiscard]] Decoded decode(std::span<const std::byte> payload, HelloRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, HelloAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, PingRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, PingAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ListRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ListAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CreateRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CreateAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RemoveRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RemoveAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, OpenRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, OpenAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, SizeRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, SizeAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, GrowRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, GrowAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ReadRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ReadAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, WriteRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, WriteAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ZeroRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ZeroAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, DataRangesRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, DataRangesAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, FlushRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, FlushAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CommitRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CommitAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, DiscardRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, DiscardAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RefreshRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RefreshAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, StatRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, StatAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, BreakLeaseRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, BreakLeaseAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, SessionsRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, SessionsAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, KickRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, KickAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, WhoamiRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, WhoamiAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, FaultsRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, FaultsAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RingRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, RingAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, TakeoverRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, TakeoverAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CloseRequest& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, CloseAnswer& message);
[[nodiscard]] Decoded decode(std::span<const std::byte> payload, ErrorText& message);

/// Appends one whole frame to `out`. Texts longer than their limit are cut at a character's border (messages) or are
/// a caller's bug (names: asserted). The request's or answer's operation follows from the message's type.
using Bytes = std::vector<std::byte>;

void encode(Bytes& out, std::uint64_t request_id, const HelloRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const HelloAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const PingRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const PingAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const ListRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const ListAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const CreateRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const CreateAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const RemoveRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const RemoveAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const OpenRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const OpenAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const SizeRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const SizeAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const GrowRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const GrowAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const ReadRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const ReadAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const WriteRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const WriteAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const ZeroRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const ZeroAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const DataRangesRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const DataRangesAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const FlushRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const FlushAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const CommitRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const CommitAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const DiscardRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const DiscardAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const RefreshRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const RefreshAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const StatRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const StatAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const BreakLeaseRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const BreakLeaseAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const SessionsRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const SessionsAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const KickRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const KickAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const WhoamiRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const WhoamiAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const FaultsRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const FaultsAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const RingRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const RingAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const TakeoverRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const TakeoverAnswer& message);
void encode(Bytes& out, std::uint64_t request_id, const CloseRequest& message);
void encode(Bytes& out, std::uint64_t request_id, const CloseAnswer& message);

/// An answer with a status other than ok.
void encode_error(Bytes& out, std::uint64_t request_id, Operation operation, Status status, std::string_view message);
/// `operation` is one of the notices.
void encode_notice(Bytes& out, Operation operation, Status status, std::string_view message);
/// Writes a bare header; for a payload that its owner appends without a copy (a read's data, a write's data).
void encode_header(std::span<std::byte, frame_header_bytes> out, const FrameHeader& header);

/// The names of operations and statuses as PROTOCOL.md spells them; "operation 4711" for an unknown number.
std::string to_string(Operation operation);
std::string to_string(Status status);
bool is_known(Operation operation);
/// A server sends it unasked.
bool is_notice(Operation operation);
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`
bool is_store_name(std::string_view name);
bool is_utf8(std::string_view text);

}  // namespace pageserver::proto
