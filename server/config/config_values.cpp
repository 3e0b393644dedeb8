#include "server/config/config_values.hpp"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "base/home_paths.hpp"
#include "base/loopback.hpp"
#include "base/poll_budget.hpp"
#include "proto/codec.hpp"

namespace pageserver::server {

namespace {

bool is_numeric_address(const std::string& host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 || ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

// The same file by whatever name; one that does not exist yet by its path.
std::string identity_of(const std::string& path) {
  if (base::is_home_path(path)) return path;
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  return error ? path : resolved.string();
}

/// A host as the kernel sees it: "localhost" and every way to write one address are the same.
struct Host {
  explicit Host(const std::string& text) {
    const std::string numeric = text == "localhost" ? "127.0.0.1" : text;
    is_v4 = ::inet_pton(AF_INET, numeric.c_str(), bytes.data()) == 1;
    if (!is_v4) ::inet_pton(AF_INET6, numeric.c_str(), bytes.data());
  }
  bool is_any() const { return bytes == std::array<unsigned char, 16>{}; }

  bool is_v4 = false;
  std::array<unsigned char, 16> bytes{};
};

std::string shown_address(const ListenAddress& address) {
  std::string text = "\"" + format_address(address.host, address.port) + "\"";
  if (address.passed) text += " (descriptor " + std::to_string(*address.passed) + " of LISTEN_FDS)";
  return text;
}

/// Why both can't be listened on at once; empty when they can. [::] takes in no IPv4.
std::string clash(const ListenAddress& address, const ListenAddress& other) {
  if (address.port == 0 || address.port != other.port) return {};
  const Host one{address.host}, two{other.host};
  if (one.is_v4 != two.is_v4) return {};
  const std::string text = "listen: " + shown_address(address) + " ";
  const std::string other_text = shown_address(other);
  if (one.bytes == two.bytes) return text + "is the same address as " + other_text + "; name each address once";
  if (one.is_any()) return text + "takes in " + other_text + "; name one of them";
  if (two.is_any()) return text + "is a part of " + other_text + "; name one of them";
  return {};
}

std::string socket_path_fault(const std::string& key, const std::string& path) {
  constexpr std::size_t socket_path_max = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() <= socket_path_max) return {};
  return key + ": the path \"" + path + "\" has " + std::to_string(path.size()) +
         " bytes, and that of a socket at most " + std::to_string(socket_path_max) +
         "; choose a shorter one, or start the daemon in the folder and name the file alone";
}

void check_metrics(const MetricsListen& listen, const Config& config, std::vector<std::string>& faults) {
  if (!listen.tcp) {
    if (std::string fault = socket_path_fault("metrics.listen", listen.unix_path); !fault.empty())
      faults.push_back(std::move(fault));
    return;
  }
  for (const ListenAddress& other : config.listen)
    if (const std::string fault = clash(*listen.tcp, other); !fault.empty())
      return faults.push_back("metrics." + fault);
}

void check_addresses(const Config& config, std::vector<std::string>& faults) {
  for (std::size_t i = 0; i < config.listen.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (std::string fault = clash(config.listen[i], config.listen[j]); !fault.empty()) {
        faults.push_back(std::move(fault));
        break;
      }
  for (const UnixListen& address : config.unix_sockets)
    if (std::string fault = socket_path_fault("unix", address.path); !fault.empty()) faults.push_back(std::move(fault));
  if (config.metrics) check_metrics(config.metrics->listen, config, faults);
}

// Where a key of a store was given: a flag is one text, an entry of the file has keys.
std::string place_of(const StoreConfig& store, std::string_view key) {
  return store.origin.starts_with("--") ? store.origin : store.origin + "." + std::string(key);
}

/// A socket, an image and a port file each need a file of their own: one would take the other's place.
void check_files(const Config& config, std::vector<std::string>& faults) {
  std::map<std::string, std::string> taken;  // by file: what has it
  for (const StoreConfig& store : config.stores) taken.emplace(identity_of(store.path), place_of(store, "path"));
  const auto take = [&](const std::string& key, const std::string& path) {
    const auto [first, is_new] = taken.emplace(identity_of(path), key);
    if (!is_new) faults.push_back(key + ": \"" + path + "\" is the same file as " + first->second + "; name another");
  };
  for (const UnixListen& address : config.unix_sockets) take("unix", address.path);
  if (config.metrics && !config.metrics->listen.tcp) take("metrics.listen", config.metrics->listen.unix_path);
  if (!config.port_file.empty()) take("port_file", config.port_file);
}

bool is_loopback(const std::string& host) {
  const Host address{host};
  in_addr v4{};
  in6_addr v6{};
  static_assert(sizeof v6 == sizeof address.bytes);
  std::memcpy(&v4, address.bytes.data(), sizeof v4);
  std::memcpy(&v6, address.bytes.data(), sizeof v6);
  return address.is_v4 ? base::is_loopback(v4) : base::is_loopback(v6);
}

void check_tls(const Config& config, std::vector<std::string>& faults) {
  const bool speaks =
      std::any_of(config.listen.begin(), config.listen.end(), [](const auto& each) { return each.tls; });
  const TlsConfig& tls = config.tls;
  if (speaks && (tls.certificate.empty() || tls.key.empty()))
    faults.push_back("tls: there is a listener with TLS, and " +
                     std::string(tls.certificate.empty() ? "tls.certificate" : "tls.key") +
                     " is missing; name the PEM files of the daemon's certificate and of its key");
  if (!speaks && !(tls.certificate.empty() && tls.key.empty() && tls.client_ca.empty()))
    faults.push_back(
        "tls: no listener speaks TLS; write {\"address\": \"HOST:PORT\", \"tls\": true} in \"listen\", or "
        "--listen-tls");
}

/// An address that other machines reach is for those who are named.
void check_reach(const Config& config, std::vector<std::string>& faults) {
  if (config.access.rules || config.access.insecure) return;
  for (const ListenAddress& address : config.listen) {
    // Who has a certificate by that authority was let in by whoever runs it.
    if (is_loopback(address.host) || (address.tls && !config.tls.client_ca.empty())) continue;
    faults.push_back(
        "listen: " + shown_address(address) +
        " can be reached from other machines, and without \"rules\" everybody there could do everything: write rules "
        "that say who may what, or have it speak TLS and ask for certificates (tls.client_ca), or say "
        "--insecure where all who reach it may");
  }
}

/// What the configuration says of listeners of this kind; empty: nothing.
std::string listens_itself(PassedKind kind, const Config& config) {
  if (kind == PassedKind::local) {
    for (const UnixListen& address : config.unix_sockets)
      if (!address.passed) return "\"unix\" (--unix) names " + address.path;
    return {};
  }
  if (kind == PassedKind::metrics) {
    if (!config.metrics) return {};
    const MetricsListen& listen = config.metrics->listen;
    if (listen.unix_passed || (listen.tcp && listen.tcp->passed)) return "another descriptor is";
    return "\"metrics\" (--metrics) names " +
           (listen.tcp ? format_address(listen.tcp->host, listen.tcp->port) : "unix:" + listen.unix_path);
  }
  const bool tls = kind == PassedKind::tls;
  for (const ListenAddress& address : config.listen)
    if (!address.passed && address.tls == tls)
      return std::string(tls ? "\"listen\" (--listen-tls)" : "\"listen\" (--listen)") + " names " +
             format_address(address.host, address.port);
  return {};
}

void add_one_passed(const PassedSocket& socket, Config& config) {
  ListenAddress address{socket.host, socket.port, socket.kind == PassedKind::tls, socket.descriptor};
  const bool local = socket.host.empty();
  if (socket.kind == PassedKind::metrics) {
    MetricsListen& listen = config.metrics.emplace().listen;
    if (!local) {
      listen.tcp = std::move(address);
      return;
    }
    listen.unix_path = socket.path;
    listen.unix_passed = socket.descriptor;
  } else if (local) {
    config.unix_sockets.push_back({socket.path, UnixListen().mode, socket.descriptor});
  } else {
    config.listen.push_back(std::move(address));
  }
}

}  // namespace

std::vector<std::string> add_passed(const std::vector<PassedSocket>& sockets, Config& config) {
  std::vector<std::string> faults;
  for (const PassedSocket& socket : sockets) {
    const std::string other = listens_itself(socket.kind, config);
    if (other.empty()) {
      add_one_passed(socket, config);
      continue;
    }
    const std::string place = socket.host.empty() ? "unix:" + socket.path : format_address(socket.host, socket.port);
    faults.push_back("LISTEN_FDS: descriptor " + std::to_string(socket.descriptor) + " listens on " + place + " as \"" +
                     std::string(to_string(socket.kind)) + "\", and " + other +
                     ": the service manager or the configuration makes listeners of one kind, not both; leave one out");
  }
  return faults;
}

std::string format_address(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::vector<std::string> check_policy_source(const PolicySource& access) {
  std::vector<std::string> faults;
  if (!access.rules) {
    if (!access.tokens_file.empty())
      faults.push_back("tokens_file: without \"rules\" a token allows nothing; say what each may do");
    return faults;
  }
  if (access.insecure)
    faults.push_back(
        "--insecure: serves everybody who has a way to the daemon, and there are \"rules\"; leave one out");
  for (const Rule& rule : *access.rules) {
    if (rule.who.starts_with("token:") && access.tokens_file.empty())
      faults.push_back(rule.origin + ".who: \"" + rule.who + "\" is a token, and there is no \"tokens_file\"");
    if (rule.who.starts_with("cert:") && !access.certificates)
      faults.push_back(rule.origin + ".who: \"" + rule.who +
                       "\" is a certificate, and this daemon asks for none: there is no \"tls.client_ca\"");
  }
  return faults;
}

std::vector<std::string> check_stores(const Config& config) {
  std::vector<std::string> faults;
  std::map<std::string, std::string> names;
  std::map<std::string, std::size_t> paths;
  std::map<std::pair<dev_t, ino_t>, std::size_t> files;
  for (std::size_t i = 0; i < config.stores.size(); ++i) {
    const StoreConfig& store = config.stores[i];
    const auto [first, is_new] = names.emplace(store.name, store.origin);
    if (!is_new) {
      faults.push_back(place_of(store, "name") + ": \"" + store.name + "\" is taken by " + first->second +
                       "; each store needs a name of its own");
    }
    if (store.standby && !base::is_home_path(store.path))
      faults.push_back(place_of(store, "standby") + ": the image of \"" + store.name + "\" is the file \"" +
                       store.path +
                       "\" of this machine, for which no other daemon can stand by; leave it out, or name a path "
                       "ceph:POOL/NAME");
    // By its path, and by what is there: it may have several names.
    const auto path = paths.emplace(identity_of(store.path), i);
    std::size_t other = path.second ? i : path.first->second;
    struct stat found {};
    if (::stat(store.path.c_str(), &found) == 0)
      other = std::min(other, files.emplace(std::pair(found.st_dev, found.st_ino), i).first->second);
    if (other == i) continue;
    faults.push_back(place_of(store, "path") + ": \"" + store.path + "\" is the same file as " +
                     place_of(config.stores[other], "path") + "; one file is one store");
  }
  return faults;
}

std::optional<std::uint32_t> parse_mode(std::string_view text) {
  std::uint32_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > 0777) return {};
  return mode;
}

std::optional<std::optional<std::uint32_t>> parse_poll(std::string_view text) {
  if (text == "auto") return std::optional<std::uint32_t>{};
  const auto us = base::parse_number(text, base::poll_us_max);
  if (!us) return {};
  return static_cast<std::uint32_t>(*us);
}

std::optional<ListenAddress> parse_listen(std::string_view text, bool tls) {
  ListenAddress address;
  address.tls = tls;
  if (tls) address.port = proto::default_tls_port;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return {};
    address.host = text.substr(1, close - 1);
    if (address.host.find(':') == std::string::npos) return {};
    port = text.substr(close + 1);
  } else {
    const std::size_t colon = text.find(':');
    address.host = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (address.host != "localhost" && !is_numeric_address(address.host)) return {};
  if (port.empty()) return address;
  const char* const end = port.data() + port.size();
  const auto [last, error] = std::from_chars(port.data() + 1, end, address.port);
  if (port[0] != ':' || port.size() == 1 || error != std::errc() || last != end) return {};
  return address;
}

std::optional<MetricsListen> parse_metrics(std::string_view text) {
  constexpr std::string_view unix_prefix = "unix:";
  MetricsListen listen;
  if (text.starts_with(unix_prefix)) {
    listen.unix_path = text.substr(unix_prefix.size());
    return listen.unix_path.empty() ? std::nullopt : std::optional{listen};
  }
  if (const auto port = base::parse_number(text, 65535)) {
    listen.tcp = ListenAddress{"127.0.0.1", static_cast<std::uint16_t>(*port)};
    return listen;
  }
  // A port is said: there is no default one.
  const bool has_port =
      text.starts_with('[') ? text.find("]:") != std::string_view::npos : text.find(':') != std::string_view::npos;
  if (has_port) listen.tcp = parse_listen(text);
  return listen.tcp ? std::optional{listen} : std::nullopt;
}

bool is_host_name(std::string_view text) {
  constexpr std::size_t bytes_max = 253;
  return !text.empty() && text.size() <= bytes_max && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

std::optional<StoreConfig> parse_store(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals + 1 == text.size()) return {};
  StoreConfig store;
  store.name = text.substr(0, equals);
  store.path = text.substr(equals + 1);
  if (!proto::is_store_name(store.name)) return {};
  return store;
}

std::vector<std::string> check_config(const Config& config) {
  std::vector<std::string> faults = check_stores(config);
  if (config.stores.size() > config.limits.stores) {
    faults.push_back("limits.stores: " + std::to_string(config.limits.stores) + " is less than the " +
                     std::to_string(config.stores.size()) + " stores that are configured");
  }
  if (config.stores.empty() && !config.directory) {
    faults.push_back("stores: nothing to serve; name an image with --store NAME=PATH or a folder with --directory DIR");
  }
  const Limits& limits = config.limits;
  if (limits.buffered_bytes < limits.request_bytes + proto::payload_overhead_bytes) {
    faults.push_back("limits.buffered_bytes: " + std::to_string(limits.buffered_bytes) +
                     " is less than one request: at least limits.request_bytes + " +
                     std::to_string(proto::payload_overhead_bytes) + " = " +
                     std::to_string(limits.request_bytes + proto::payload_overhead_bytes));
  }
  if (limits.memory_bytes != 0 && limits.memory_bytes < memory_bytes_min(limits)) {
    faults.push_back("limits.memory_bytes: " + std::to_string(limits.memory_bytes) +
                     " is too little for frames of limits.request_bytes=" + std::to_string(limits.request_bytes) +
                     ": at least " + std::to_string(memory_bytes_min(limits)));
  }
  check_addresses(config, faults);
  check_files(config, faults);
  for (std::string& fault : check_policy_source(config.access)) faults.push_back(std::move(fault));
  check_tls(config, faults);
  check_reach(config, faults);
  return faults;
}

}  // namespace pageserver::server
