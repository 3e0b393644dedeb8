// The numbers of the wire format. PROTOCOL.md is the normative page; this header mirrors it and changes only with it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pageserver::proto {

inline constexpr std::uint16_t default_port = 6553;
inline constexpr std::uint16_t default_tls_port = 6554;
inline constexpr std::uint16_t protocol_version = 1;

/// "PGS1" as bytes on the wire; a little-endian u32 here.
inline constexpr std::uint32_t frame_magic = 0x31534750;

// Frame header: magic u32, operation u16, flags u16, request_id u64, payload_bytes u32, status u16, reserved u16.
inline constexpr std::size_t frame_header_bytes = 24;

inline constexpr std::uint16_t flag_answer = 1;  ///< server to client, answers the request with the same id
inline constexpr std::uint16_t flag_notice = 2;  ///< server to client, unasked, request_id 0

enum class Operation : std::uint16_t {
  hello = 1,
  ping = 2,
  list = 3,
  create = 4,
  remove = 5,
  open = 6,
  size = 7,
  grow = 8,
  read = 9,
  write = 10,
  zero = 11,
  data_ranges = 12,
  flush = 13,
  discard = 14,
  refresh = 15,
  stat = 16,
  break_lease = 17,
  close = 18,
  commit = 19,
  sessions = 20,
  kick = 21,
  whoami = 22,
  faults = 23,
  ring = 24,
  takeover = 25,
  lease_lost = 128,  // notice
  goodbye = 129,     // notice
  waiting = 130,     // notice
};

enum class Status : std::uint16_t {
  ok = 0,
  out_of_bounds = 1,
  provider_error = 2,
  busy = 3,
  lease_lost = 4,
  read_only = 5,
  snapshot_too_old = 6,
  no_space = 7,
  limit_exceeded = 8,
  not_found = 9,
  already_exists = 10,
  protocol_error = 11,
  stopping = 12,
  timed_out = 13,
  unsupported = 14,
  invalid_argument = 15,
  permission_denied = 16,
  damaged = 17,
  kicked = 18,  ///< of goodbye alone
  token_unknown = 19,
  token_expired = 20,
  token_foreign = 21,
  identity_differs = 22,
  request_differs = 23,
  outside_window = 24,
  served_elsewhere = 25,
};

/// Feature bits of hello. Both ends have a bit, or neither uses what it names.
inline constexpr std::uint64_t feature_zero = 1;         ///< the operation `zero`
inline constexpr std::uint64_t feature_data_ranges = 2;  ///< the operation `data_ranges`
inline constexpr std::uint64_t feature_commit = 4;       ///< the operation `commit`
inline constexpr std::uint64_t feature_recovery = 8;     ///< what was recovered, in answers of `stat` and `list`
inline constexpr std::uint64_t feature_sessions = 16;    ///< the operations `sessions` and `kick`
inline constexpr std::uint64_t feature_load = 32;        ///< the block `load` of a stat answer
inline constexpr std::uint64_t feature_identity = 64;    ///< credentials in hello, and the operation `whoami`
inline constexpr std::uint64_t feature_faults = 128;     ///< the operation `faults`, of a daemon that allows it
inline constexpr std::uint64_t feature_resume = 256;     ///< a session outlives its connection
inline constexpr std::uint64_t feature_ring = 512;       ///< the operation `ring`, over a Unix socket
inline constexpr std::uint64_t feature_restart = 1024;   ///< with `resume`: a writer's also outlives its server
inline constexpr std::uint64_t feature_takeover = 2048;  ///< the operation `takeover`
inline constexpr std::uint64_t feature_home = 4096;      ///< the block `home` of a stat answer
/// What whoever wants no more than it needs offers, too: all but `resume` and `restart`, by which a session stays when
/// its client is gone, and `ring`, which is for who polls.
inline constexpr std::uint64_t features_all = feature_zero | feature_data_ranges | feature_commit | feature_recovery |
                                              feature_sessions | feature_load | feature_identity | feature_faults |
                                              feature_takeover | feature_home;

inline constexpr std::uint32_t request_bytes_min = 1u << 20;      ///< what a server's request_bytes_max is at least
inline constexpr std::uint32_t hello_payload_bytes_max = 4096;    ///< of any frame before hello was answered
inline constexpr std::uint32_t payload_overhead_bytes = 4096;     ///< payload_bytes_max is request_bytes_max plus this
inline constexpr std::uint32_t client_payload_bytes_min = 69632;  ///< what a client's payload_bytes_max is at least
inline constexpr std::size_t ping_bytes_max = 64;
inline constexpr std::size_t store_name_bytes_max = 64;
inline constexpr std::size_t name_bytes_max = 255;  ///< client and session names, identities
inline constexpr std::size_t credentials_bytes_max = 1024;
inline constexpr std::size_t message_bytes_max = 2048;  ///< of an error's text
inline constexpr std::size_t list_entries_max = 32;
inline constexpr std::size_t ranges_max = 4096;  ///< in one answer of refresh or data_ranges
inline constexpr std::size_t sessions_entries_max = 48;
inline constexpr std::size_t resume_token_bytes = 16;
inline constexpr std::uint32_t resume_window_max = 65535;    ///< requests behind the acknowledged mark
inline constexpr std::size_t fault_orders_max = 32;          ///< of one session, and of one store
inline constexpr std::size_t fault_orders_bytes_max = 4096;  ///< text of one request `faults`

}  // namespace pageserver::proto
