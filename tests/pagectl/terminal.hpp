// A child whose standard error is a terminal.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace pageserver::test {

struct TerminalResult {
  int status = 0;      ///< 128 + signal when a signal ended it
  std::string screen;  ///< what came on standard error
};

/// Where standard output goes.
enum class Output { nowhere, terminal };

/// Runs a program to its end with standard error on a new pseudo-terminal, standard output to /dev/null or there as
/// well. Killed after `patience`.
TerminalResult run_on_terminal(std::vector<std::string> argv, Output output = Output::nowhere);

}  // namespace pageserver::test
