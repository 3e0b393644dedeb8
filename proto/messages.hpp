// Every message of the protocol as a struct. A text is a view into the frame that it was decoded from and lives as
// long as that buffer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <pageserver/session.hpp>

#include "proto/wire.hpp"

namespace pageserver::proto {

// The same on the wire and in the library, the numbers too.
using pageserver::Access;
using pageserver::Publish;
using pageserver::Version;
using pageserver::View;
using Range = ByteRange;

struct HelloRequest {
  std::uint16_t version_min = protocol_version;
  std::uint16_t version_max = protocol_version;
  std::uint32_t payload_bytes_max = 0;  ///< the largest payload that the client takes
  std::uint64_t features = 0;
  std::string_view client_name;  ///< program and version, for the log
  std::string_view credentials;  ///< reserved: must be empty in version 1
};
struct HelloAnswer {
  std::uint16_t version = protocol_version;
  std::uint64_t features = 0;
  std::uint32_t payload_bytes_max = 0;  ///< the largest payload that the server takes
  std::uint32_t request_bytes_max = 0;  ///< the most data in one read or write; that much is atomic
  std::uint32_t requests_in_flight_max = 0;
  std::uint32_t buffered_bytes_max = 0;
  std::uint64_t connection_id = 0;
  std::string_view server_name;  ///< "pageserverd 0.1.0"
};

struct PingRequest {
  std::span<const std::byte> echo;
};
struct PingAnswer {
  std::span<const std::byte> echo;
};

struct ListRequest {
  std::string_view after;
};  ///< names greater than this one; empty: from the first
struct ListEntry {
  std::string_view store;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;  ///< the server has it open
};
struct ListAnswer {
  bool more = false;               ///< ask again after the last name
  std::vector<ListEntry> entries;  ///< in rising byte order of their names
};

struct CreateRequest {
  std::string_view store;
  std::uint64_t pages = 0;
};
struct CreateAnswer {};
struct RemoveRequest {
  std::string_view store;
};
struct RemoveAnswer {};

struct OpenRequest {
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint32_t wait_ms = 0;
  std::array<std::uint8_t, 16> resume_token{};  ///< reserved: zeros in version 1
  std::uint64_t last_request_id = 0;            ///< reserved: 0 in version 1
  std::string_view store;
  std::string_view session_name;
};
struct OpenAnswer {
  std::uint64_t session_id = 0;
  std::uint64_t epoch = 0;  ///< of the writer lease; 0 without one
  Version version;
  std::uint64_t pages = 0;
  std::uint64_t size_bytes_max = 0;
};

struct SizeRequest {};
struct SizeAnswer {
  std::uint64_t pages = 0;
  Version version;
};
struct GrowRequest {
  std::uint64_t new_pages = 0;
};
struct GrowAnswer {
  std::uint64_t previous_pages = 0;
};
struct ReadRequest {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};
struct ReadAnswer {
  std::span<const std::byte> data;
};
struct WriteRequest {
  std::uint64_t offset = 0;
  std::span<const std::byte> data;
};
struct WriteAnswer {};
struct ZeroRequest {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
struct ZeroAnswer {};
struct DataRangesRequest {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
struct DataRangesAnswer {
  std::uint64_t described_until = 0;
  std::vector<Range> ranges;
};
struct FlushRequest {};
struct FlushAnswer {
  Version version;
};  ///< everything up to this version is durable
struct CommitRequest {};
struct CommitAnswer {
  Version version;
};  ///< as a flush's
struct DiscardRequest {};
struct DiscardAnswer {
  std::uint64_t pages = 0;
  Version version;
};
struct RefreshRequest {};
using RefreshAnswer = Refreshed;  ///< `changed` is empty with `everything`

struct StatRequest {};
struct Holder {
  std::string_view name;
  std::string_view address;
  std::int64_t since_unix_ms = 0;
  std::uint64_t idle_ms = 0;
  std::uint64_t epoch = 0;
  Access access = Access::read;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint64_t version_number = 0;
};
struct StatAnswer {
  std::string_view store;
  std::uint64_t pages = 0;
  Version version;
  bool read_only = false;
  std::optional<Holder> writer;
  std::uint64_t writers_waiting = 0;
  std::uint64_t sessions_live = 0;
  std::uint64_t sessions_pinned = 0;
  std::uint64_t sessions_write = 0;
  std::uint64_t sessions_fork = 0;
  std::optional<Holder> oldest_holder;
  std::uint64_t size_bytes_max = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t checkpoint_lag_bytes = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t fork_bytes = 0;
  std::string_view last_sync_error;
  std::string_view image_warning;
};

struct BreakLeaseRequest {
  std::uint64_t epoch = 0;
};  ///< 0: whichever session holds it
struct BreakLeaseAnswer {
  std::optional<Holder> broken;
};
struct CloseRequest {};
struct CloseAnswer {};

/// The payload of every answer whose status is not ok, and of both notices.
struct ErrorText {
  std::string_view message;
};

}  // namespace pageserver::proto
