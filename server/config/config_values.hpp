// Single values of a configuration, from text. Each parser returns nothing for a text that is not one; the caller says
// where it stood and what was expected.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.hpp"
#include "server/config/config.hpp"
#include "server/service/passed_sockets.hpp"

namespace pageserver::server {

using base::parse_duration;
using base::parse_size;
/// "0640": octal, at most 0777.
std::optional<std::uint32_t> parse_mode(std::string_view text);
/// "127.0.0.1:6553", "[::1]:0", "localhost"; without a port the default one, which is another with TLS.
std::optional<ListenAddress> parse_listen(std::string_view text, bool tls = false);
/// "auto", or digits: microseconds, at most base::poll_us_max. The inner value is empty for "auto".
std::optional<std::optional<std::uint32_t>> parse_poll(std::string_view text);
/// "127.0.0.1:9653", "9653" (loopback), "unix:PATH".
std::optional<MetricsListen> parse_metrics(std::string_view text);
/// "pageserver", "pageserver.example.org": letters, digits, dots, hyphens and underscores.
bool is_host_name(std::string_view text);
/// "NAME=PATH" with a valid store name.
std::optional<StoreConfig> parse_store(std::string_view text);

inline constexpr std::string_view size_form = "a number of bytes or a text such as \"64MiB\"";
inline constexpr std::string_view duration_form = "a number of milliseconds or a text such as \"30s\" or \"500ms\"";
inline constexpr std::string_view mode_form = "an octal text such as \"0640\"";
inline constexpr std::string_view listen_form =
    "a numeric address and port such as \"127.0.0.1:6553\" or \"[::1]:6553\"";
inline constexpr std::string_view metrics_form =
    "\"HOST:PORT\" with a numeric host, \"PORT\" for this machine's loopback, or \"unix:PATH\"";
inline constexpr std::string_view host_name_form = "a host name without a port, such as \"pageserver\"";
inline constexpr std::string_view poll_form = "\"auto\" or a whole number of microseconds from 0 to 1000";
inline constexpr std::string_view store_name_form = "a name of the form [A-Za-z0-9][A-Za-z0-9._-]{0,63}";

/// "127.0.0.1:80", "[::1]:80".
std::string format_address(const std::string& host, std::uint16_t port);

/// Adds listeners for what the service manager passed. One line for each that is of a kind which the configuration has
/// listeners of, too.
std::vector<std::string> add_passed(const std::vector<PassedSocket>& sockets, Config& config);
/// Duplicate stores and two stores on one file. One line for each fault.
std::vector<std::string> check_stores(const Config& config);
/// Of what says who may do what: what contradicts itself.
std::vector<std::string> check_policy_source(const PolicySource& access);
/// What only shows in the whole: that, limits that contradict each other, nothing to serve, addresses and files that
/// are there twice, a socket's path that is too long, an address that is open to other machines without rules. One line
/// for each fault.
std::vector<std::string> check_config(const Config& config);

}  // namespace pageserver::server
