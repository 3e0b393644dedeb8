// From argc and argv to a configuration.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/config/config.hpp"
#include "server/service/passed_sockets.hpp"

namespace pageserver::server {

struct CommandLine {
  Config config;
  bool check_only = false;
  /// Set when the process should end now: after --help and --version, or with a usage error.
  std::optional<int> exit_status;
  /// What is wrong with the configuration: all of it.
  std::vector<std::string> faults;
};

/// What the program says of itself, for its manual.
struct ProgramPage {
  struct Flag {
    std::string names;  ///< with what stands behind it: "--store NAME=PATH"
    std::string help;
  };
  std::string about;
  std::string notes;
  std::string status;
  std::string example;
  std::vector<Flag> flags;
};
ProgramPage program_page();

/// Writes `text` to standard output, all of it. Returns the exit status: 1 where it could not be written, which is then
/// said on standard error.
int print_out(std::string_view text);

/// Prints help, version and usage errors itself. Reads the configuration file; flags win over it. `passed` are
/// listeners beside those.
CommandLine read_command_line(int argc, char** argv, const PassedSockets& passed);

}  // namespace pageserver::server
