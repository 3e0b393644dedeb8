// Where a daemon listens, and how that is written in messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire.hpp"

namespace pageserver::client {

/// Another host of the same daemons' keys.
struct OtherHost {
  std::string host{};
  std::uint16_t port = proto::default_port;

  friend bool operator==(const OtherHost&, const OtherHost&) = default;
};

/// A TCP address or the path of a Unix socket; or several addresses, of which one is meant: that which serves.
struct Endpoint {
  std::string host{};  ///< name or address without brackets; unused with `socket_path`
  std::uint16_t port = proto::default_port;
  std::string socket_path{};  ///< not empty: a Unix socket
  // Files in PEM form; empty: the system's authorities, no certificate, the host's name.
  bool tls = false;
  std::string tls_ca{};
  std::string tls_certificate{};
  std::string tls_key{};
  std::string tls_name{};
  std::vector<OtherHost> others{};  ///< of TCP: behind `host`, to be tried in turn

  /// One for each address, without others.
  std::vector<Endpoint> each() const;
  bool is_unix() const { return !socket_path.empty(); }
  /// As a URI, percent-encoded: `pageserver://[::1]:6553/demo`, `pageserver+unix:///demo?socket=/run/p.sock`; without
  /// a store `pageserver://127.0.0.1:6553`. Files are not in it.
  std::string uri(std::string_view store = {}) const;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace pageserver::client
