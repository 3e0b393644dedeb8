// The keys of URIs: which there are, for which forms, and what they mean. From here come the parser's list of what it
// knows, and the manual.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace pageserver::client {

/// Forms of a URI, as bits.
enum UriForm : std::uint8_t {
  form_tcp = 1,
  form_unix = 2,
  form_store = 4,
  form_file = 8,
  form_tcp_server = 16,  ///< a daemon without a store
  form_unix_server = 32,
  form_tls = 64,
  form_tls_server = 128,
};

struct UriKey {
  std::string_view name;
  std::string_view values;
  std::uint8_t schemes;  ///< of UriForm
  std::string_view meaning;
};

inline constexpr std::uint8_t forms_of_tls = form_tls | form_tls_server;
inline constexpr std::uint8_t forms_of_daemons =
    form_tcp | form_unix | form_tcp_server | form_unix_server | forms_of_tls;
inline constexpr std::uint8_t forms_of_sessions = form_tcp | form_tls | form_unix | form_store;

inline constexpr std::array uri_keys{
    UriKey{"socket", "PATH", form_unix | form_unix_server, "The daemon's Unix socket. It has to be there"},
    UriKey{
        "access", "read|write|fork", forms_of_sessions | form_file,
        "What the session may do. A store has one writer at a time; a fork is a private copy that goes with the "
        "session, and a plain file has none. The library opens for writing unless told otherwise, pagectl for reading "
        "where the command only reads"},
    UriKey{"view", "live|pinned", forms_of_sessions,
           "What a reader sees: the newest version at each read, or one version until it is refreshed. The default is "
           "live"},
    UriKey{"publish", "on_write|on_flush", forms_of_sessions,
           "When others see what a writer wrote: with each write, or all of it or nothing with flush. The default is "
           "on_write"},
    UriKey{"wait_ms", "N", forms_of_sessions,
           "How long to wait in line for the writer lease, in milliseconds. The default is 0: busy at once"},
    UriKey{"name", "WHO", forms_of_sessions,
           "What the session calls itself towards others. The default is the program"},
    UriKey{
        "connect_timeout", "DURATION", forms_of_daemons,
        "Name resolution, all addresses, hello and open together: a number with ms, s, m or h, or 0 for no limit. The "
        "default is 10s"},
    UriKey{"request_timeout", "DURATION", forms_of_daemons, "One request. 0 is no limit, and the default is 60s"},
    UriKey{
        "poll_us", "auto|N", forms_of_daemons,
        "For how many microseconds, 0 to 1000, a call looks for its answer before it sleeps. auto, the default, is 0 "
        "where there is one processor"},
    UriKey{
        "token_file", "PATH", forms_of_daemons,
        "A file with the token that says who the client is, as pagectl token create makes it; others must not be able "
        "to read it. Without the key the environment's PAGESERVER_TOKEN is taken, if it is set"},
    UriKey{"cache_bytes", "off|SIZE", form_tcp | form_tls | form_unix,
           "Memory for pages that need not be asked for again, such as 64MiB. A writer with on_flush, and a fork, keep "
           "there what they write until flush. The default is off"},
    UriKey{"resume", "SECONDS", form_tcp | form_tls | form_unix,
           "For how long a lost connection is made again, 0 to 86400 seconds; calls take longer meanwhile, and each is "
           "carried out once. The default is 0: not at all"},
    UriKey{
        "transport", "auto|socket", form_tcp | form_tls | form_unix,
        "Over a Unix socket, and where both ends poll, auto goes through memory that is shared with the daemon; socket "
        "never does. The default is auto"},
    UriKey{
        "faults", "ORDERS", form_tcp | form_tls | form_unix,
        "For tests: faults that strike this session, such as write:3:no_space,flush:delay=50ms; the daemon has to run "
        "with --allow-faults"},
    UriKey{"tls_ca", "PATH", forms_of_tls,
           "A PEM file with the authorities that are believed, and lists of what they revoked, if there are some. The "
           "default is those of the system"},
    UriKey{"tls_certificate", "PATH", forms_of_tls,
           "A PEM file with the client's certificate, for a daemon that wants one. Needs tls_key"},
    UriKey{"tls_key", "PATH", forms_of_tls, "A PEM file with its private key; others must not be able to read it"},
    UriKey{"tls_name", "NAME", forms_of_tls,
           "The name that the daemon's certificate must have. The default is the host of the URI"},
};

inline constexpr std::array uri_schemes{
    std::pair{std::uint8_t{form_tcp}, std::string_view{"pageserver"}},
    std::pair{std::uint8_t{form_tls}, std::string_view{"pageservers"}},
    std::pair{std::uint8_t{form_unix}, std::string_view{"pageserver+unix"}},
    std::pair{std::uint8_t{form_store}, std::string_view{"store"}},
    std::pair{std::uint8_t{form_file}, std::string_view{"file"}},
};

}  // namespace pageserver::client
