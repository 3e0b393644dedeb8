// Everything that can be configured, with its defaults. Filled from a JSON file (config_json.hpp) and from flags, which
// win (command_line.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/wire.hpp"
#include "server/runtime/log.hpp"

namespace pageserver::server {

inline constexpr std::uint16_t default_port = 6553;

struct ListenAddress {
  std::string host;  ///< numeric IPv4 or IPv6 without brackets, or "localhost"
  std::uint16_t port = default_port;
};

struct UnixListen {
  std::string path;
  std::uint32_t mode = 0660;
};

struct StoreConfig {
  std::string origin;  ///< "stores[1]" or "--store": where it was said, for messages
  std::string name;
  std::string path;
  bool read_only = false;
  bool create = true;  ///< make the file when it is missing
  std::optional<std::uint32_t> mode;
  std::optional<std::uint64_t> size_bytes_max;
};

struct DirectoryConfig {
  std::string path;
  bool create = false;  ///< clients may create stores
  bool remove = false;  ///< clients may remove stores
  bool read_only = false;
  std::uint32_t mode = 0640;
};

/// Bounds of each store's engine, in bytes but for the pace. The defaults are those of storage/engine/engine.hpp.
struct EngineLimits {
  std::uint64_t log_bytes = 1024ull << 20;  ///< log not yet in the image, above which the writer waits
  std::uint32_t checkpoint_pace =
      4;  ///< bytes copied into the image per byte appended, up to half of that; 0: no limit
  std::uint64_t held_bytes = 1ull << 30;            ///< log, and memory to find it, kept only for pins and forks
  std::uint64_t private_memory_bytes = 8ull << 20;  ///< of a transaction or a fork, above which it spills to disk
  std::uint64_t transaction_bytes = 16ull << 30;    ///< private bytes of an on_flush session
  std::uint32_t private_ranges = 1u << 20;          ///< of a transaction or a fork, apart from each other
  std::uint64_t fork_bytes = 1ull << 30;            ///< private bytes of one fork
  std::uint64_t forks_bytes = 8ull << 30;           ///< private bytes of all forks of the daemon
};

struct Limits {
  std::uint32_t connections = 4096;
  std::uint32_t stores = 256;  ///< open at the same time
  std::uint64_t size_bytes_max = 1ull << 40;
  std::uint32_t request_bytes = 1u << 20;   ///< data in one read or write
  std::uint32_t requests_in_flight = 1024;  ///< of one connection, beyond which the daemon stops reading
  std::uint32_t buffered_bytes = 4u << 20;  ///< answers of one connection, beyond which the daemon stops reading
  std::chrono::milliseconds hello_timeout{10'000};
  std::chrono::milliseconds stall_timeout{60'000};
  std::chrono::milliseconds lease_idle_max{0};  ///< 0: never
  std::chrono::milliseconds keepalive{30'000};  ///< until the kernel gives up on a host that is gone
  EngineLimits engine;
};

/// What hello announces: at least one request fits.
inline std::uint32_t buffered_bytes_max(const Limits& limits) {
  return std::max(limits.buffered_bytes, limits.request_bytes + proto::payload_overhead_bytes);
}

struct Config {
  std::vector<ListenAddress> listen;
  std::vector<UnixListen> unix_sockets;
  std::vector<StoreConfig> stores;
  std::optional<DirectoryConfig> directory;
  Limits limits;
  std::chrono::milliseconds grace{10'000};
  std::uint32_t threads = 1;             ///< for each store
  std::optional<std::uint32_t> poll_us;  ///< see storage::poll_bound(); empty: "auto"
  LogFormat log_format = LogFormat::text;
  LogLevel log_level = LogLevel::info;
  std::string port_file;
};

}  // namespace pageserver::server
