// A daemon that speaks TLS, for tests of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"

namespace pageserver::test {

/// A daemon with a plain listener and one for TLS, and what its clients need.
struct Secured {
  Certificates certificates;
  std::unique_ptr<test::Daemon> daemon;

  void start(const std::string& server, std::vector<std::string> more = {}) {
    std::vector<std::string> flags{"--store", "demo={dir}/demo.img"};
    more.insert(more.end(), {"--listen-tls", "127.0.0.1:0", "--tls-certificate", certificates.certificate(server),
                             "--tls-key", certificates.key(server)});
    flags.insert(flags.end(), more.begin(), more.end());
    daemon = std::make_unique<test::Daemon>(flags);
  }
  std::string port() const {
    const std::string& line = daemon->listeners().at(1);
    return line.substr(line.rfind(':') + 1);
  }
  std::uint16_t port_number() const { return static_cast<std::uint16_t>(std::stoul(port())); }
  std::string server_uri(const std::string& more = {}, const std::string& host = "localhost") const {
    return "pageservers://" + host + ":" + port() + "?tls_ca=" + certificates.certificate("ca") + more;
  }
  std::string uri(const std::string& more = {}, const std::string& host = "localhost") const {
    return "pageservers://" + host + ":" + port() + "/demo?tls_ca=" + certificates.certificate("ca") + more;
  }
  /// What opening says, or "opened".
  std::string opening(const std::string& more = {}, const std::string& host = "localhost") const {
    return opening_of(uri(more, host));
  }
  static std::string opening_of(const std::string& text) {
    try {
      (void)open(text);
      return "opened";
    } catch (const MemoryError& error) {
      return error.what();
    }
  }
};

inline bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace pageserver::test
