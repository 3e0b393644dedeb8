// The command line: options to a command, or help, or a usage error.
#pragma once

#include "client/pagectl/commands/context.hpp"

namespace pageserver::pagectl {

/// Parses and runs. Returns the exit status; throws what the command throws. `context` has the common options as soon
/// as they are known.
int run_command_line(Context& context, int argc, const char* const* argv);

}  // namespace pageserver::pagectl
