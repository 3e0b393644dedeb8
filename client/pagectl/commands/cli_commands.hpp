// The commands of the command line, in three groups: the table that help, manuals and completion are made from.
// Included by the cli*.cpp files only: CLI11 is heavy.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "client/pagectl/commands/commands.hpp"

namespace pageserver::pagectl {

/// What a command says of itself beside its operands and options, which `app` knows. Texts are lines for a terminal.
struct CommandPage {
  CLI::App* app = nullptr;
  std::string about;    ///< what else there is to know; may be empty
  std::string forms;    ///< what may stand for its operands
  std::string status;   ///< what its exit status means; empty: what it means everywhere
  std::string example;  ///< command lines, each behind two spaces
};

/// Where commands are added: the app, what parsing chose to run, and the pages.
struct CommandSink {
  CLI::App& app;
  Context& context;
  std::function<int()>& chosen;
  std::vector<CommandPage>& pages;
};

/// What is true of all commands.
struct ToolPage {
  std::string about;
  std::string forms;
  std::string keys;
  std::string status;
  std::string example;
};
const ToolPage& tool_page();

/// --json and --quiet, which every command has.
void add_common_options(CLI::App& app, Context& context);

void add_server_commands(const CommandSink& sink);  // list ping sessions top kick takeover whoami token faults run
                                                    // create remove info lease
void add_image_commands(const CommandSink& sink);   // read write grow copy diff hash
void add_layout_commands(const CommandSink& sink);  // inspect verify
void add_work_commands(const CommandSink& sink);    // mount replay bench plot check recover

/// All of that.
void add_commands(const CommandSink& sink);

}  // namespace pageserver::pagectl
