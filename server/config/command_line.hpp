// From argc and argv to a configuration.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/config/config.hpp"

namespace pageserver::server {

struct CommandLine {
  Config config;
  bool check_only = false;
  /// Set when the process should end now: after --help and --version, or with a usage error.
  std::optional<int> exit_status;
  /// What is wrong with the configuration: all of it.
  std::vector<std::string> faults;
};

/// Prints help, version and usage errors itself. Reads the configuration file; flags win over it.
CommandLine read_command_line(int argc, char** argv);

}  // namespace pageserver::server
