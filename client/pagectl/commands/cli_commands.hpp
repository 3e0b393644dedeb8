// The commands of the command line, in three groups. Included by the cli_*.cpp files only: CLI11 is heavy.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include "client/pagectl/commands/commands.hpp"

namespace pageserver::pagectl {

/// Where commands are added: the app, and what parsing chose to run.
struct CommandSink {
  CLI::App& app;
  Context& context;
  std::function<int()>& chosen;
};

/// --json and --quiet, which every command has.
void add_common_options(CLI::App& app, Context& context);

void add_server_commands(const CommandSink& sink);  // list ping create remove info lease
void add_image_commands(const CommandSink& sink);   // read write grow copy diff hash
void add_work_commands(const CommandSink& sink);    // replay bench check recover

}  // namespace pageserver::pagectl
