// The table of what can be configured: each key of the file with its form, default, range and meaning. From it come the
// defaults (config.hpp), what config_json.cpp accepts, and docs/configuration.md (config_reference.hpp). Tests compare
// it with docker/pageserverd.json and with the defaults of the engine.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/poll_budget.hpp"
#include "proto/wire.hpp"

namespace pageserver::server {

/// How a value is written.
enum class Form { text, flag, whole, size, duration, mode, poll, words, word_list, addresses };

struct ConfigKey {
  std::string_view path;  ///< "limits.connections"; `[]` stands for each element of a list
  Form form;
  std::string_view meaning;
  std::uint64_t value = 0;  ///< the default of a number: bytes, milliseconds, a mode, or what is counted; 1: true
  std::uint64_t min = 0;
  std::uint64_t max = UINT64_MAX;
  std::string_view words = {};    ///< of Form::words: the choices; `value` counts to the default
  std::string_view unset = {};    ///< where `value` is no default: what stands in for one
  std::string_view example = {};  ///< in docker/pageserverd.json, as JSON, where that is not the default

  /// The key within its object: "connections".
  constexpr std::string_view name() const { return path.substr(path.rfind('.') + 1); }
  constexpr std::uint32_t value32() const { return static_cast<std::uint32_t>(value); }
  constexpr std::chrono::milliseconds duration() const {
    return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(value));
  }
  constexpr bool flag() const { return value != 0; }
};

namespace keys {

inline constexpr std::uint64_t kib = 1ull << 10, mib = 1ull << 20, gib = 1ull << 30, tib = 1ull << 40, pib = 1ull << 50;

inline constexpr ConfigKey listen{
    .path = "listen[]",
    .form = Form::addresses,
    .meaning = "TCP address to listen on; port 0: one that is free. With `\"tls\": true` for TLS",
    .unset = "`127.0.0.1:6553` when there is no `unix` either",
    .example = R"(["127.0.0.1:6553","[::1]:6553",{"address":"[::1]:6554","tls":true}])"};
/// Of an element of `listen` that is no text.
inline constexpr ConfigKey listen_address{.path = "listen[].address", .form = Form::text, .meaning = "the address"};
inline constexpr ConfigKey listen_tls{.path = "listen[].tls", .form = Form::flag, .meaning = "TLS there"};
inline constexpr ConfigKey tls_certificate{
    .path = "tls.certificate",
    .form = Form::text,
    .meaning = "PEM file with the daemon's certificate, and behind it those between it and its authority",
    .unset = "required for TLS",
    .example = R"("/etc/pageserver/server.pem")"};
inline constexpr ConfigKey tls_key{.path = "tls.key",
                                   .form = Form::text,
                                   .meaning = "PEM file with its private key, which others can't read",
                                   .unset = "required for TLS",
                                   .example = R"("/etc/pageserver/server.key")"};
inline constexpr ConfigKey tls_client_ca{
    .path = "tls.client_ca",
    .form = Form::text,
    .meaning =
        "PEM file with authorities: clients must have a certificate by one of them, which no list of revoked ones in "
        "the same file names",
    .unset = "none: clients show no certificate",
    .example = R"("/etc/pageserver/client-ca.pem")"};
inline constexpr ConfigKey tls_identity{
    .path = "tls.identity",
    .form = Form::words,
    .meaning =
        "what of a client's certificate says who it is, for rules about `cert:NAME`: the first URI, DNS name or e-mail "
        "address among its subject's alternative names, or the common name",
    .words = "uri dns email cn"};
inline constexpr ConfigKey unix_path{.path = "unix[].path",
                                     .form = Form::text,
                                     .meaning = "Unix socket to listen on",
                                     .unset = "required",
                                     .example = R"("/run/pageserver/pageserver.sock")"};
inline constexpr ConfigKey unix_mode{.path = "unix[].mode",
                                     .form = Form::mode,
                                     .meaning = "permissions of that socket: who may write to it may connect",
                                     .value = 0660,
                                     .max = 0777};

inline constexpr ConfigKey store_name{
    .path = "stores[].name",
    .form = Form::text,
    .meaning = "name of the store: a letter or digit, then up to 63 of letters, digits, `.`, `_`, `-`",
    .unset = "required",
    .example = R"("demo")"};
inline constexpr ConfigKey store_path{.path = "stores[].path",
                                      .form = Form::text,
                                      .meaning = "file of its image; no two stores have one file",
                                      .unset = "required",
                                      .example = R"("/data/demo.img")"};
inline constexpr ConfigKey store_read_only{
    .path = "stores[].read_only", .form = Form::flag, .meaning = "no client may write"};
inline constexpr ConfigKey store_create{
    .path = "stores[].create", .form = Form::flag, .meaning = "make the file when it is missing", .value = 1};
inline constexpr ConfigKey store_mode{.path = "stores[].mode",
                                      .form = Form::mode,
                                      .meaning = "permissions of a file that is made",
                                      .value = 0640,
                                      .max = 0777};
inline constexpr ConfigKey store_size_bytes_max{.path = "stores[].size_bytes_max",
                                                .form = Form::size,
                                                .meaning = "how large the image may grow",
                                                .min = 64 * kib,
                                                .max = 4096 * pib,
                                                .unset = "that of `limits`",
                                                .example = R"("64GiB")"};

inline constexpr ConfigKey store_standby{
    .path = "stores[].standby",
    .form = Form::flag,
    .meaning =
        "where another daemon has the store, which must lie in a Ceph pool, wait and take it over once it is free; "
        "without it the start is refused then"};

inline constexpr ConfigKey directory_path{.path = "directory.path",
                                          .form = Form::text,
                                          .meaning = "folder of which each `NAME.img` is served as store NAME",
                                          .unset = "required in `directory`",
                                          .example = R"("/data/stores")"};
inline constexpr ConfigKey directory_create{
    .path = "directory.create", .form = Form::flag, .meaning = "clients may create stores there"};
inline constexpr ConfigKey directory_remove{
    .path = "directory.remove", .form = Form::flag, .meaning = "clients may remove stores there"};
inline constexpr ConfigKey directory_read_only{
    .path = "directory.read_only", .form = Form::flag, .meaning = "no client may write to a store there"};
inline constexpr ConfigKey directory_mode{.path = "directory.mode",
                                          .form = Form::mode,
                                          .meaning = "permissions of a file that is made",
                                          .value = 0640,
                                          .max = 0777};

inline constexpr ConfigKey directory_linger{
    .path = "directory.linger",
    .form = Form::duration,
    .meaning = "how long a store stays open after its last session; 0: it is closed at once",
    .value = 3'000};
inline constexpr ConfigKey tokens_file{
    .path = "tokens_file",
    .form = Form::text,
    .meaning = "file with the names of tokens and the SHA-256 of each, as `pagectl token create` makes it",
    .unset = "none",
    .example = R"("/etc/pageserver/tokens")"};
inline constexpr ConfigKey rule_who{
    .path = "rules[].who",
    .form = Form::text,
    .meaning =
        "who this rule is about: `token:NAME`, `uid:NUMBER` (the user at the other end of a Unix socket), "
        "`cert:NAME` (of a client's certificate, see `tls.identity`), `*` in them for any characters, or `anyone`",
    .unset = "required",
    .example = R"("token:ci-*")"};
inline constexpr ConfigKey rule_stores{.path = "rules[].stores",
                                       .form = Form::text,
                                       .meaning = "stores that it is about: a name, `*` in it for any characters",
                                       .unset = "required",
                                       .example = R"("test-*")"};
inline constexpr ConfigKey rule_may{
    .path = "rules[].may[]",
    .form = Form::word_list,
    .meaning =
        "what that one may do with them; `write` reads as well, `admin` is to break leases, and to see and end "
        "the sessions of others. What no rule allows is refused",
    .words = "read fork write create remove admin",
    .unset = "required",
    .example = R"(["read","fork"])"};
inline constexpr ConfigKey connections{.path = "limits.connections",
                                       .form = Form::whole,
                                       .meaning = "connections at a time",
                                       .value = 4096,
                                       .min = 1,
                                       .max = 1'000'000};
inline constexpr ConfigKey peer_percent{.path = "limits.peer_percent",
                                        .form = Form::whole,
                                        .meaning =
                                            "of `connections`, `strangers`, `stores`, `lease_line`, `forks_bytes`, "
                                            "buffers and memory for TLS, what one address, or one user of a "
                                            "Unix socket, may have; 100: all",
                                        .value = 90,
                                        .min = 1,
                                        .max = 100};
inline constexpr ConfigKey strangers{
    .path = "limits.strangers",
    .form = Form::whole,
    .meaning =
        "connections at a time that have not said hello, TLS handshake included; beyond it, and where `connections` is "
        "used up, the oldest of the address that has most of them goes when another one comes. With TLS no more than "
        "one for each 768 KiB of `memory_bytes`",
    .value = 1024,
    .min = 1,
    .max = 1'000'000};
inline constexpr ConfigKey lease_line{.path = "limits.lease_line",
                                      .form = Form::whole,
                                      .meaning = "sessions that wait for the lease of one store",
                                      .value = 1024,
                                      .min = 1,
                                      .max = 1'000'000};
inline constexpr ConfigKey stores{.path = "limits.stores",
                                  .form = Form::whole,
                                  .meaning = "stores that are open at a time",
                                  .value = 512,
                                  .min = 1,
                                  .max = 100'000};
inline constexpr ConfigKey disk_threads{
    .path = "limits.disk_threads",
    .form = Form::whole,
    .meaning = "threads for calls to the disk, for all stores; there are so many only while calls are stuck",
    .value = 256,
    .min = 4,
    .max = 4096};
inline constexpr ConfigKey size_bytes_max{.path = "limits.size_bytes_max",
                                          .form = Form::size,
                                          .meaning = "how large an image may grow",
                                          .value = tib,
                                          .min = 64 * kib,
                                          .max = 4096 * pib};
inline constexpr ConfigKey request_bytes{.path = "limits.request_bytes",
                                         .form = Form::size,
                                         .meaning = "data of one read or write; clients are told",
                                         .value = mib,
                                         .min = proto::request_bytes_min,
                                         .max = 64 * mib};
inline constexpr ConfigKey requests_in_flight{
    .path = "limits.requests_in_flight",
    .form = Form::whole,
    .meaning = "requests of one connection that wait for answers, beyond which the daemon reads no further",
    .value = 1024,
    .min = 1,
    .max = 1'000'000};
inline constexpr ConfigKey buffered_bytes{
    .path = "limits.buffered_bytes",
    .form = Form::size,
    .meaning =
        "answers of one connection that wait to be sent, beyond which the daemon reads no further; at least one "
        "request fits",
    .value = 4 * mib,
    .min = proto::request_bytes_min,
    .max = gib};
inline constexpr ConfigKey memory_bytes{
    .path = "limits.memory_bytes",
    .form = Form::size,
    .meaning =
        "memory of the daemon, without mapped images: a quarter each for the buffers of connections, for private "
        "bytes, and for what finds bytes in logs, which pins and forks hold back; the rest is for all else, of which "
        "TLS has half, and what was read of images in Ceph pools a quarter",
    .value = gib,
    .min = 64 * mib,
    .max = pib,
    .unset = "three quarters of the control group's limit; without one, half of the machine's memory",
    .example = R"("1GiB")"};
inline constexpr ConfigKey hello_timeout{.path = "limits.hello_timeout",
                                         .form = Form::duration,
                                         .meaning = "until a connection has said hello",
                                         .value = 10'000,
                                         .min = 1};
inline constexpr ConfigKey stall_timeout{
    .path = "limits.stall_timeout",
    .form = Form::duration,
    .meaning = "in the middle of a frame: how long a peer may send nothing, or take nothing",
    .value = 60'000,
    .min = 1};
inline constexpr ConfigKey lease_idle_max{
    .path = "limits.lease_idle_max",
    .form = Form::duration,
    .meaning = "after which a writer that asks for nothing loses its lease; 0: never",
    .value = 0};
inline constexpr ConfigKey keepalive{
    .path = "limits.keepalive",
    .form = Form::duration,
    .meaning = "until the kernel gives up on a host that is gone; 0: it does not ask whether it is",
    .value = 30'000};
inline constexpr ConfigKey log_bytes{
    .path = "limits.log_bytes",
    .form = Form::size,
    .meaning = "log of one store that is not in the image yet, above which its writer waits",
    .value = gib,
    .min = mib,
    .max = tib};
inline constexpr ConfigKey checkpoint_pace{
    .path = "limits.checkpoint_pace",
    .form = Form::whole,
    .meaning = "bytes that a checkpoint copies into the image for each byte that is appended meanwhile; 0: no limit",
    .value = 4,
    .max = 1'000'000};
inline constexpr ConfigKey held_bytes{
    .path = "limits.held_bytes",
    .form = Form::size,
    .meaning = "log of one store, and memory to find it, that is kept only for pins and forks",
    .value = gib,
    .min = mib,
    .max = pib};
inline constexpr ConfigKey private_memory_bytes{
    .path = "limits.private_memory_bytes",
    .form = Form::size,
    .meaning = "private bytes of one transaction or fork that are kept in memory; the rest goes to a file",
    .value = 8 * mib,
    .min = 64 * kib,
    .max = tib};
inline constexpr ConfigKey transaction_bytes{.path = "limits.transaction_bytes",
                                             .form = Form::size,
                                             .meaning = "private bytes of one `on_flush` session",
                                             .value = 16 * gib,
                                             .min = 64 * kib,
                                             .max = pib};
inline constexpr ConfigKey private_ranges{.path = "limits.private_ranges",
                                          .form = Form::whole,
                                          .meaning = "ranges apart from each other in one transaction or fork",
                                          .value = 1u << 20,
                                          .min = 1024,
                                          .max = 1'000'000'000};
inline constexpr ConfigKey fork_bytes{.path = "limits.fork_bytes",
                                      .form = Form::size,
                                      .meaning = "private bytes of one fork",
                                      .value = gib,
                                      .min = 64 * kib,
                                      .max = pib};
inline constexpr ConfigKey forks_bytes{.path = "limits.forks_bytes",
                                       .form = Form::size,
                                       .meaning = "private bytes of all forks of the daemon",
                                       .value = 8 * gib,
                                       .min = 64 * kib,
                                       .max = pib};

inline constexpr ConfigKey metrics_listen{
    .path = "metrics.listen",
    .form = Form::text,
    .meaning =
        "where metrics and health are told, by HTTP: `HOST:PORT`, `PORT` of this machine's loopback, or "
        "`unix:PATH`",
    .unset = "none: they are not",
    .example = R"("127.0.0.1:9653")"};
inline constexpr ConfigKey metrics_hosts{
    .path = "metrics.hosts[]",
    .form = Form::text,
    .meaning =
        "further names by which that listener may be asked (the field `Host`), such as a container's; numeric "
        "addresses and `localhost` always may",
    .unset = "none",
    .example = R"(["pageserver"])"};
inline constexpr ConfigKey grace{.path = "grace",
                                 .form = Form::duration,
                                 .meaning = "how long a stop waits: half of it for clients, the rest for the disk",
                                 .value = 10'000,
                                 .min = 100};
inline constexpr ConfigKey resume_linger{
    .path = "resume_linger",
    .form = Form::duration,
    .meaning = "how long a session stays whose client has lost its connection and asked to resume it; 0: never",
    .value = 30'000,
    .max = 24 * 3'600'000};
inline constexpr ConfigKey home_timeout{
    .path = "home_timeout",
    .form = Form::duration,
    .meaning =
        "of a store in a Ceph pool: how long requests wait for a cluster that does not answer, or to know whether the "
        "store is still this daemon's where its lease could not be renewed in time, before they get `timed_out`",
    .value = 5'000,
    .max = 24 * 3'600'000};
inline constexpr ConfigKey threads{
    .path = "threads",
    .form = Form::whole,
    .meaning = "threads that serve the readers of a store, all stores share them; 0: as many as processors",
    .value = 0,
    .max = 64};
inline constexpr ConfigKey poll_us{
    .path = "poll_us",
    .form = Form::poll,
    .meaning = "microseconds to poll for a session's next request before sleeping, while that pays; 0: never",
    .value = base::poll_us_auto,
    .max = base::poll_us_max,
    .example = R"("auto")"};
inline constexpr ConfigKey log_format{.path = "log.format",
                                      .form = Form::words,
                                      .meaning = "log lines on standard error as text or as JSON",
                                      .words = "text json"};
inline constexpr ConfigKey log_level{.path = "log.level",
                                     .form = Form::words,
                                     .meaning = "least level that is logged",
                                     .value = 1,
                                     .words = "debug info warn error"};
inline constexpr ConfigKey log_peer_lines{
    .path = "log.peer_lines",
    .form = Form::whole,
    .meaning =
        "lines of each kind that one peer may cause in a second, in the long run; a hundred times as many at once, and "
        "ten times as many of all peers. The others are counted; 0: no bound",
    .value = 50,
    .max = 1'000'000};
inline constexpr ConfigKey allow_faults{
    .path = "allow_faults",
    .form = Form::flag,
    .meaning =
        "clients may order faults: errors, delays, cut connections, and who has the right admin a killed daemon. For "
        "tests, never where data matters"};
inline constexpr ConfigKey port_file{.path = "port_file",
                                     .form = Form::text,
                                     .meaning = "file to write `ADDRESS:PORT` of each TCP listener to, once all serve",
                                     .unset = "none",
                                     .example = R"("/run/pageserver/port")"};

/// All of them, in the order of the example and the reference.
inline constexpr std::array all{&listen,
                                &tls_certificate,
                                &tls_key,
                                &tls_client_ca,
                                &tls_identity,
                                &unix_path,
                                &unix_mode,
                                &store_name,
                                &store_path,
                                &store_read_only,
                                &store_create,
                                &store_mode,
                                &store_size_bytes_max,
                                &store_standby,
                                &directory_path,
                                &directory_create,
                                &directory_remove,
                                &directory_read_only,
                                &directory_mode,
                                &directory_linger,
                                &tokens_file,
                                &rule_who,
                                &rule_stores,
                                &rule_may,
                                &connections,
                                &peer_percent,
                                &strangers,
                                &lease_line,
                                &stores,
                                &disk_threads,
                                &size_bytes_max,
                                &request_bytes,
                                &requests_in_flight,
                                &buffered_bytes,
                                &memory_bytes,
                                &hello_timeout,
                                &stall_timeout,
                                &lease_idle_max,
                                &keepalive,
                                &log_bytes,
                                &checkpoint_pace,
                                &held_bytes,
                                &private_memory_bytes,
                                &transaction_bytes,
                                &private_ranges,
                                &fork_bytes,
                                &forks_bytes,
                                &metrics_listen,
                                &metrics_hosts,
                                &grace,
                                &resume_linger,
                                &home_timeout,
                                &threads,
                                &poll_us,
                                &log_format,
                                &log_level,
                                &log_peer_lines,
                                &allow_faults,
                                &port_file};

}  // namespace keys

}  // namespace pageserver::server
