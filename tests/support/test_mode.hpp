// In what way the programs that run against a real daemon run: the same tests, unchanged, over other machinery.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pageserver::test {

/// From PAGESERVER_TEST_MODE, a list of `threads`, `polling` and `cache` with commas; throws for another word. What a
/// test says itself wins.
struct TestMode {
  bool threads = false;  ///< daemons: three threads for the readers of a store
  bool polling = false;  ///< daemons and sessions: poll for as long as is allowed, whatever the machine has
  bool cache = false;    ///< sessions: a cache small enough that pages come and go

  static TestMode from_environment();

  /// A configuration for the daemon: `config` (JSON, or empty) with what this mode adds.
  std::string config_with(std::string config) const;
  /// `query` of a session's URI with what this mode adds.
  std::string query_with(std::string_view query) const;
  bool changes_daemon() const { return threads || polling; }
};

}  // namespace pageserver::test
