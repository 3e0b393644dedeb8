// Every message of the protocol as a struct. A text is a view into the frame that it was decoded from and lives as
// long as that buffer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <pageserver/administration.hpp>
#include <pageserver/session.hpp>

#include "proto/wire.hpp"

namespace pageserver::proto {

// The same on the wire and in the library, the numbers too.
using pageserver::Access;
using pageserver::Load;
using pageserver::Publish;
using pageserver::SessionState;
using pageserver::Version;
using pageserver::View;
using pageserver::WaitsFor;
using Range = ByteRange;

struct HelloRequest {
  std::uint16_t version_min = protocol_version;
  std::uint16_t version_max = protocol_version;
  std::uint32_t payload_bytes_max = 0;  ///< the largest payload that the client takes
  std::uint64_t features = 0;
  std::string_view client_name;  ///< program and version, for the log
  std::string_view credentials;  ///< "token SECRET", or empty; only with the feature `identity`
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
/// What an opening of a store found and replayed.
struct Recovery {
  std::int64_t unix_ms = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t log_files = 0;
  std::uint64_t records = 0;
  std::uint64_t pages = 0;
  std::uint64_t dropped_files = 0;
  std::uint64_t dropped_records = 0;
  std::uint64_t kept_count = 0;
  std::vector<std::string_view> kept_files;  ///< not empty, without '/'; at most `kept_count`
  std::string_view warning;
};

struct ListEntry {
  std::string_view store;
  std::uint64_t pages = 0;
  bool read_only = false;
  bool open = false;                 ///< the server has it open
  std::optional<Recovery> recovery;  ///< its numbers; the texts are empty
  bool recovery_warned = false;      ///< there is a warning, which a stat says
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

using ResumeToken = std::array<std::uint8_t, resume_token_bytes>;

struct OpenRequest {
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint32_t wait_ms = 0;
  ResumeToken resume_token{};         ///< of the session that goes on; zeros: a new one
  std::uint64_t last_request_id = 0;  ///< all of that session up to it are answered; 0 for a new one
  std::string_view store;
  std::string_view session_name;
};
/// What a session is resumed by; with the feature `resume` only.
struct ResumeTicket {
  ResumeToken token{};
  std::uint64_t executed = 0;   ///< the highest request id that was carried out
  std::uint32_t linger_ms = 0;  ///< how long the session stays without a connection
  /// With the feature `restart` only: the store was opened anew since, and `executed` is the highest request whose
  /// effect it has; the session is there again, without answers and without what was private.
  bool rebuilt = false;
};
struct OpenAnswer {
  std::uint64_t session_id = 0;
  std::uint64_t epoch = 0;  ///< of the writer lease; 0 without one
  Version version;
  std::uint64_t pages = 0;
  std::uint64_t size_bytes_max = 0;
  std::optional<ResumeTicket> resume;
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
struct Home {
  std::string_view name;
  std::string_view holder;
  std::string_view health;
  std::uint64_t epoch = 0;
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
  std::optional<Recovery> recovery;
  std::optional<Load> load;
  std::optional<Home> home;
};

struct BreakLeaseRequest {
  std::uint64_t epoch = 0;
};  ///< 0: whichever session holds it
struct BreakLeaseAnswer {
  std::optional<Holder> broken;
};
struct SessionsRequest {
  std::uint64_t after = 0;  ///< connections with a greater id
  std::string_view store;   ///< empty: whatever they use
};
struct SessionEntry {
  SessionState state = SessionState::greeting;
  WaitsFor waits_for = WaitsFor::nothing;
  Access access = Access::read;
  View view = View::live;
  Publish publish = Publish::on_write;
  bool peer_known = false;  ///< `peer_uid` and `peer_pid` are
  bool has_lease = false;
  bool lost_lease = false;
  bool kicked = false;
  bool ring = false;  ///< goes through shared memory
  std::uint64_t connection_id = 0;
  std::uint64_t session_id = 0;
  std::uint64_t connected_ms = 0;
  std::uint64_t opened_ms = 0;
  std::uint64_t idle_ms = 0;
  std::uint64_t epoch = 0;
  std::uint64_t place_in_line = 0;
  std::uint64_t held_version = 0;
  std::uint64_t requests = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t private_bytes = 0;
  std::uint64_t unsent_bytes = 0;
  std::uint32_t requests_in_flight = 0;
  std::uint32_t peer_uid = 0;
  std::uint32_t peer_pid = 0;
  std::uint32_t request_ms = 0;
  std::string_view store;
  std::string_view session_name;
  std::string_view client_name;
  std::string_view address;
};
struct SessionsAnswer {
  bool more = false;                  ///< ask again after `described_until`
  std::uint64_t described_until = 0;  ///< a connection's id
  Load load;
  std::vector<SessionEntry> entries;
};
enum class KickWhat : std::uint8_t { session = 0, connection = 1 };
struct KickRequest {
  std::uint64_t id = 0;
  KickWhat what = KickWhat::session;
  std::string_view reason;
};
struct KickAnswer {
  bool released = false;
  SessionEntry kicked;
};

struct WhoamiRequest {
  std::string_view store;  ///< empty: what holds for every store
};
struct WhoamiAnswer {
  std::uint32_t rights = 0;  ///< of Right; may have bits that this version does not know
  std::string_view identity;
  std::string_view why;
};

struct TakeoverRequest {
  std::string_view store;
  bool holder_is_dead = false;  ///< it is not asked, and its lease not waited for
};
struct TakeoverAnswer {
  bool was_here = false;  ///< the server had the store already
  std::uint64_t took_ms = 0;
  std::string_view holder;  ///< who had it before, for people; empty: nobody had
};

enum class FaultsWhat : std::uint8_t { list = 0, add = 1, clear = 2 };
enum class FaultsScope : std::uint8_t { session = 0, store = 1 };
struct FaultsRequest {
  FaultsWhat what = FaultsWhat::list;
  FaultsScope scope = FaultsScope::session;
  std::string_view orders;  ///< with `add`: see fault_order.hpp
};
struct FaultsEntry {
  std::uint64_t seen = 0;    ///< requests that matched
  std::uint64_t struck = 0;  ///< of them
  std::string_view order;
};
struct FaultsAnswer {
  std::vector<FaultsEntry> entries;  ///< in the order in which they were ordered
};

/// Comes with a descriptor: base/ring/memory.hpp.
struct RingRequest {
  std::uint64_t direction_bytes = 0;
};
struct RingAnswer {};

struct CloseRequest {};
struct CloseAnswer {};

/// The payload of every answer whose status is not ok, and of both notices.
struct ErrorText {
  std::string_view message;
};

}  // namespace pageserver::proto
