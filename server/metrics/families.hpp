// The table of what /metrics tells. From it come the lines of HELP and TYPE, docs/metrics.md (metrics_reference.hpp),
// and the names that the rest of the program uses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pageserver::server {

enum class FamilyKind : std::uint8_t { counter, gauge, histogram };

struct Family {
  std::string_view name;
  FamilyKind kind;
  std::string_view meaning;  ///< one sentence without its full stop, for people; neither a backslash nor a line's end
  std::string_view labels = {};  ///< their names, with a space between
  /// Name, labels and meaning stay within a major version. What is not stable tells of how the program works inside.
  bool stable = true;
};

namespace families {

inline constexpr Family build_info{"pageserver_build_info", FamilyKind::gauge, "1, with the version of the program",
                                   "version"};
inline constexpr Family ready{"pageserver_ready", FamilyKind::gauge,
                              "1 once the daemon serves and until it stops, else 0"};

inline constexpr Family requests{"pageserver_requests_total", FamilyKind::counter,
                                 "requests that were answered, by operation and by the answer's status",
                                 "operation status"};
inline constexpr Family request_duration{
    "pageserver_request_duration_seconds", FamilyKind::histogram,
    "from a request's turn to its answer, with what it waited for: the disk, a flush, room in the log, the lease",
    "operation"};
inline constexpr Family connections{"pageserver_connections", FamilyKind::gauge, "connections of clients"};
inline constexpr Family connections_accepted{"pageserver_connections_accepted_total", FamilyKind::counter,
                                             "connections of clients that were accepted, also those refused later"};
inline constexpr Family connections_refused{
    "pageserver_connections_refused_total", FamilyKind::counter,
    "connections that the daemon ended, by reason: limit (limits.connections, or descriptors), timed_out (no hello, or "
    "the middle of a frame), unread (the peer reads no answers), protocol (what came is no request), permission (its "
    "token or its right), stranger (it had not said hello when others came, limits.strangers)",
    "reason"};
inline constexpr Family auth_failures{
    "pageserver_auth_failures_total", FamilyKind::counter,
    "clients and requests that were refused, by reason: right (no rule allows it), tls (a handshake that failed, a "
    "certificate that is believed no more), token (one that is not in the tokens file or was taken back, or that came "
    "where others can listen)",
    "reason"};
inline constexpr Family reloads{
    "pageserver_reloads_total", FamilyKind::counter,
    "how often what had changed, or what SIGHUP asked for, was read again: the rules with the tokens file, and the "
    "certificates (certificate, key and client_ca), by result: taken, or failed, since something is wrong with them",
    "files result"};
inline constexpr Family rules_not_taken{"pageserver_rules_not_taken", FamilyKind::gauge,
                                        "1 while the rules or the tokens file, as they are now, are not in force, "
                                        "since something is wrong with them; else 0"};
inline constexpr Family certificate_not_taken{
    "pageserver_certificate_not_taken", FamilyKind::gauge,
    "1 while certificate, key or client_ca, as they are now, are not in force, since something is wrong with them; "
    "else 0"};
inline constexpr Family certificate_not_after{
    "pageserver_certificate_not_after_timestamp_seconds", FamilyKind::gauge,
    "when the certificate that the daemon shows, or one of its chain, ends, in seconds since 1970; only with tls"};
inline constexpr Family sessions{"pageserver_sessions", FamilyKind::gauge, "open sessions, by access", "access"};
inline constexpr Family sessions_detached{
    "pageserver_sessions_detached", FamilyKind::gauge,
    "sessions without a connection, which are kept for resume_linger since their clients may come back"};
inline constexpr Family resumes{
    "pageserver_resumes_total", FamilyKind::counter,
    "what became of sessions that can be resumed, by outcome: detached (the connection was lost), resumed, expired "
    "(nobody came back for it), refused (a token that is not known, or not the client's)",
    "outcome"};
inline constexpr Family leases_lost{
    "pageserver_leases_lost_total", FamilyKind::counter,
    "writer leases that were taken, by reason: broken (by a client), idle (limits.lease_idle_max), kicked", "reason"};
inline constexpr Family snapshots_given_up{
    "pageserver_snapshots_given_up_total", FamilyKind::counter,
    "pins and forks that lost their version, since limits.held_bytes was passed"};

inline constexpr Family log_sync_duration{"pageserver_log_sync_duration_seconds", FamilyKind::histogram,
                                          "syncs of a store's log to its disk, each for all flushes that waited"};
inline constexpr Family commit_duration{
    "pageserver_commit_duration_seconds", FamilyKind::histogram,
    "transactions of on_flush sessions, from the append to the log until they are durable and visible"};
inline constexpr Family checkpoint_duration{
    "pageserver_checkpoint_duration_seconds", FamilyKind::histogram,
    "rounds of a checkpoint that came to their end, with the pauses that they make for writers"};
inline constexpr Family checkpoint_failures{"pageserver_checkpoint_failures_total", FamilyKind::counter,
                                            "rounds of a checkpoint that failed"};
inline constexpr Family sync_failures{
    "pageserver_sync_failures_total", FamilyKind::counter,
    "syncs that the system failed; their store takes no more writes until it is opened "
    "again. Files that somebody took away are in `pageserver_store_sync_failed` alone"};
inline constexpr Family recoveries{"pageserver_recoveries_total", FamilyKind::counter,
                                   "stores that were opened with a log that had to be replayed"};
inline constexpr Family recovery_records{"pageserver_recovery_records_total", FamilyKind::counter,
                                         "records of the log that recoveries replayed"};
inline constexpr Family recovery_bytes{"pageserver_recovery_bytes_total", FamilyKind::counter,
                                       "bytes of the log that recoveries read"};

inline constexpr Family stores_open{"pageserver_stores_open", FamilyKind::gauge, "stores that are open"};
inline constexpr Family store_size{"pageserver_store_size_bytes", FamilyKind::gauge,
                                   "size of the newest published version", "store"};
inline constexpr Family store_size_limit{"pageserver_store_size_limit_bytes", FamilyKind::gauge,
                                         "how large the image may grow", "store"};
inline constexpr Family store_log{"pageserver_store_log_bytes", FamilyKind::gauge,
                                  "log that lies beside the image, also what only pins and forks need", "store"};
inline constexpr Family store_checkpoint_lag{"pageserver_store_checkpoint_lag_bytes", FamilyKind::gauge,
                                             "log that is not in the image yet; limits.log_bytes bounds it", "store"};
inline constexpr Family store_held{"pageserver_store_held_bytes", FamilyKind::gauge,
                                   "log, and memory to find it, that is kept only for pins and forks", "store"};
inline constexpr Family store_fork{"pageserver_store_fork_bytes", FamilyKind::gauge,
                                   "private bytes of all forks, in memory or in a file", "store"};
inline constexpr Family store_writers_waiting{"pageserver_store_writers_waiting", FamilyKind::gauge,
                                              "sessions that wait in line for the lease", "store"};
inline constexpr Family store_lease_held{"pageserver_store_lease_held", FamilyKind::gauge,
                                         "1 while a session has the writer lease, else 0", "store"};
inline constexpr Family store_lease_idle{"pageserver_store_lease_idle_seconds", FamilyKind::gauge,
                                         "time since the last request of the writer; 0 while there is none", "store"};
inline constexpr Family store_disk_available{
    "pageserver_store_disk_available_bytes", FamilyKind::gauge,
    "what the file system of the image has left for the daemon, as it was some seconds ago; of `other` the least",
    "store"};
inline constexpr Family store_sync_failed{
    "pageserver_store_sync_failed", FamilyKind::gauge,
    "1 while nothing that the store is told is durable: after a failed sync, until it is "
    "opened again, or while its image or its log is away",
    "store"};

inline constexpr Family disk_calls_running{
    "pageserver_disk_calls_running", FamilyKind::gauge, "work for disks that has a thread", {}, false};
inline constexpr Family disk_calls_waiting{
    "pageserver_disk_calls_waiting", FamilyKind::gauge, "work for disks that waits for a thread", {}, false};
inline constexpr Family disk_calls_stuck{
    "pageserver_disk_calls_stuck", FamilyKind::gauge, "work for disks that has gone on for 100 ms and more", {}, false};

inline constexpr Family log_lines{"pageserver_log_lines_total", FamilyKind::counter,
                                  "lines of the daemon's own log, by level", "level"};
inline constexpr Family log_lines_dropped{"pageserver_log_lines_dropped_total", FamilyKind::counter,
                                          "lines of the daemon's own log that nobody took"};
inline constexpr Family http_requests{"pageserver_http_requests_total", FamilyKind::counter,
                                      "requests to the metrics listener, by the answer's code", "code"};
inline constexpr Family http_refused{"pageserver_http_connections_refused_total", FamilyKind::counter,
                                     "connections to the metrics listener that were closed without an answer: too "
                                     "many at a time, or too slow"};

inline constexpr Family process_cpu{"process_cpu_seconds_total", FamilyKind::counter,
                                    "processor time of the daemon, its own and the system's for it"};
inline constexpr Family process_resident{"process_resident_memory_bytes", FamilyKind::gauge,
                                         "memory of the daemon that is resident, with mapped images"};
inline constexpr Family process_virtual{"process_virtual_memory_bytes", FamilyKind::gauge,
                                        "addresses that the daemon has"};
inline constexpr Family process_threads{"process_threads", FamilyKind::gauge, "threads of the daemon"};
inline constexpr Family process_open_files{"process_open_fds", FamilyKind::gauge, "descriptors that are open"};
inline constexpr Family process_open_files_max{"process_max_fds", FamilyKind::gauge,
                                               "descriptors that may be open (ulimit -n)"};
inline constexpr Family process_start{"process_start_time_seconds", FamilyKind::gauge,
                                      "when the daemon began, in seconds since 1970"};

/// All of them, in the order in which they are told.
inline constexpr std::array all{&build_info,
                                &ready,
                                &requests,
                                &request_duration,
                                &connections,
                                &connections_accepted,
                                &connections_refused,
                                &auth_failures,
                                &reloads,
                                &rules_not_taken,
                                &certificate_not_taken,
                                &certificate_not_after,
                                &sessions,
                                &sessions_detached,
                                &resumes,
                                &leases_lost,
                                &snapshots_given_up,
                                &log_sync_duration,
                                &commit_duration,
                                &checkpoint_duration,
                                &checkpoint_failures,
                                &sync_failures,
                                &recoveries,
                                &recovery_records,
                                &recovery_bytes,
                                &stores_open,
                                &store_size,
                                &store_size_limit,
                                &store_log,
                                &store_checkpoint_lag,
                                &store_held,
                                &store_fork,
                                &store_writers_waiting,
                                &store_lease_held,
                                &store_lease_idle,
                                &store_disk_available,
                                &store_sync_failed,
                                &disk_calls_running,
                                &disk_calls_waiting,
                                &disk_calls_stuck,
                                &log_lines,
                                &log_lines_dropped,
                                &http_requests,
                                &http_refused,
                                &process_cpu,
                                &process_resident,
                                &process_virtual,
                                &process_threads,
                                &process_open_files,
                                &process_open_files_max,
                                &process_start};

}  // namespace families

/// Stores that are told by their names; what is beyond is summed as `other`.
inline constexpr std::size_t stores_told_max = 1000;
/// The sum's name. A store that has it as its own name is always in the sum.
inline constexpr std::string_view other_stores = "other";

}  // namespace pageserver::server
