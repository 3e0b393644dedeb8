// Everything that can be configured, with the defaults of config_keys.hpp, which says what each means. Filled from a
// JSON file (config_json.hpp) and from flags, which win (command_line.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/tls/names.hpp"
#include "proto/wire.hpp"
#include "server/access/policy.hpp"
#include "server/config/config_keys.hpp"
#include "server/runtime/log.hpp"

namespace pageserver::server {

struct ListenAddress {
  std::string host;  ///< numeric IPv4 or IPv6 without brackets, or "localhost"
  std::uint16_t port = proto::default_port;
  bool tls = false;
  std::optional<int> passed = {};  ///< this descriptor listens there already, by the service manager
};

/// Names of PEM files; empty: none.
struct TlsConfig {
  std::string certificate;
  std::string key;
  std::string client_ca;
  tls::NameField identity = tls::NameField::uri;
};

struct UnixListen {
  std::string path;
  std::uint32_t mode = keys::unix_mode.value32();
  std::optional<int> passed = {};  ///< as above; its file is the manager's
};

/// Where /metrics, /livez and /readyz are.
struct MetricsListen {
  std::optional<ListenAddress> tcp;
  std::string unix_path;  ///< where there is no `tcp`
  std::optional<int> unix_passed = {};
};

struct MetricsConfig {
  MetricsListen listen;
  std::vector<std::string> hosts;  ///< names in a request's field Host, beside numeric ones and localhost
};

struct StoreConfig {
  std::string origin;  ///< "stores[1]" or "--store": where it was said, for messages
  std::string name;
  std::string path;
  bool read_only = keys::store_read_only.flag();
  bool create = keys::store_create.flag();
  std::optional<std::uint32_t> mode;
  std::optional<std::uint64_t> size_bytes_max;
  bool standby = keys::store_standby.flag();
};

struct DirectoryConfig {
  std::string path;
  bool create = keys::directory_create.flag();
  bool remove = keys::directory_remove.flag();
  bool read_only = keys::directory_read_only.flag();
  std::uint32_t mode = keys::directory_mode.value32();
  std::chrono::milliseconds linger{keys::directory_linger.value};
};

/// Bounds of each store's engine. The defaults are those of storage/engine/open_engine.hpp, too.
struct EngineLimits {
  std::uint64_t log_bytes = keys::log_bytes.value;
  std::uint32_t checkpoint_pace = keys::checkpoint_pace.value32();
  std::uint64_t held_bytes = keys::held_bytes.value;
  std::uint64_t private_memory_bytes = keys::private_memory_bytes.value;
  std::uint64_t transaction_bytes = keys::transaction_bytes.value;
  std::uint32_t private_ranges = keys::private_ranges.value32();
  std::uint64_t fork_bytes = keys::fork_bytes.value;
  std::uint64_t forks_bytes = keys::forks_bytes.value;
};

struct Limits {
  std::uint32_t connections = keys::connections.value32();
  std::uint32_t peer_percent = keys::peer_percent.value32();
  std::uint32_t strangers = keys::strangers.value32();
  std::uint32_t lease_line = keys::lease_line.value32();
  std::uint32_t stores = keys::stores.value32();
  std::uint32_t disk_threads = keys::disk_threads.value32();
  std::uint64_t size_bytes_max = keys::size_bytes_max.value;
  std::uint32_t request_bytes = keys::request_bytes.value32();
  std::uint32_t requests_in_flight = keys::requests_in_flight.value32();
  std::uint32_t buffered_bytes = keys::buffered_bytes.value32();
  std::uint64_t memory_bytes = 0;  ///< 0: see MemoryShares
  std::chrono::milliseconds hello_timeout = keys::hello_timeout.duration();
  std::chrono::milliseconds stall_timeout = keys::stall_timeout.duration();
  std::chrono::milliseconds lease_idle_max = keys::lease_idle_max.duration();
  std::chrono::milliseconds keepalive = keys::keepalive.duration();
  EngineLimits engine;
};

/// What hello announces: at least one request fits.
inline std::uint32_t buffered_bytes_max(const Limits& limits) {
  return std::max(limits.buffered_bytes, limits.request_bytes + proto::payload_overhead_bytes);
}

/// Four frames in the quarter of the buffers.
inline std::uint64_t memory_bytes_min(const Limits& limits) {
  return std::max<std::uint64_t>(keys::memory_bytes.min,
                                 16 * (std::uint64_t{limits.request_bytes} + proto::payload_overhead_bytes));
}

struct Config {
  std::vector<ListenAddress> listen;
  std::vector<UnixListen> unix_sockets;
  std::vector<StoreConfig> stores;
  std::optional<DirectoryConfig> directory;
  TlsConfig tls;
  PolicySource access;
  std::string file;  ///< where it was read from; empty: there is none
  Limits limits;
  std::chrono::milliseconds grace = keys::grace.duration();
  std::chrono::milliseconds resume_linger = keys::resume_linger.duration();  ///< 0: no session outlives its connection
  std::chrono::milliseconds home_timeout = keys::home_timeout.duration();
  std::uint32_t threads = keys::threads.value32();
  std::optional<std::uint32_t> poll_us;  ///< see base::poll_bound(); empty: "auto"
  LogFormat log_format = LogFormat::text;
  LogLevel log_level = LogLevel::info;
  std::uint32_t log_peer_lines = keys::log_peer_lines.value32();
  bool allow_faults = keys::allow_faults.flag();
  std::string port_file;
  std::optional<MetricsConfig> metrics;
};

}  // namespace pageserver::server
