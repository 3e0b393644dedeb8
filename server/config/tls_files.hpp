// Certificate, key and authorities, read again while the daemon runs: see PolicyReload for when.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/tls/context.hpp"
#include "server/config/config.hpp"
#include "server/config/content_watch.hpp"

namespace pageserver::server {

/// Threads: one at a time.
class TlsFiles {
public:
  /// `config` outlives it.
  explicit TlsFiles(const Config& config) : config_(config) {}

  /// Reads all three; with no TLS anywhere, none. `context` is set where there is something new, whole and in itself
  /// right. Returns what is wrong, when that was not said before. `always`: also what has not changed since.
  std::vector<std::string> look(bool always, std::shared_ptr<const tls::Context>& context);
  bool has_files() const noexcept { return !config_.tls.certificate.empty(); }

private:
  const Config& config_;
  ContentWatch watch_;
};

}  // namespace pageserver::server
