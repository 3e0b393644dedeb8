// Rules and tokens, read again while the daemon runs: on SIGHUP, and every ten seconds by content, since links that are
// swapped, files that are mounted singly and network file systems send no events.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/access/policy.hpp"
#include "server/config/config.hpp"
#include "server/config/content_watch.hpp"

namespace pageserver::server {

/// Threads: one at a time.
class PolicyReload {
public:
  /// `config` outlives it.
  explicit PolicyReload(const Config& config);

  struct Found {
    /// Null: nothing to change.
    std::shared_ptr<const AccessPolicy> policy;
    /// What is wrong with what is there now, when that was not said before; what was there goes on.
    std::vector<std::string> faults;
  };
  /// Reads both files. `always`: also what has not changed since the last look.
  Found look(bool always);
  /// There is something that may change by itself.
  bool has_files() const noexcept { return source_.rules.has_value(); }

private:
  std::vector<std::string> read_rules(const std::string& text, PolicySource& source) const;

  const Config& config_;
  PolicySource source_;  // in force
  ContentWatch watch_;
};

}  // namespace pageserver::server
