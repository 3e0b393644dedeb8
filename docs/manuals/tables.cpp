#include "docs/manuals/tables.hpp"

#include <functional>

#include <CLI/CLI.hpp>

#include "client/pagectl/commands/cli_commands.hpp"

namespace pageserver::manuals {
namespace {

Flag flag_of(const CLI::Option& option) {
  Flag flag;
  if (!option.get_lnames().empty()) flag.long_name = "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) flag.short_name = "-" + option.get_snames().front();
  if (option.get_items_expected_max() != 0) flag.value = option.get_type_name();
  flag.help = option.get_description();
  return flag;
}

std::vector<Flag> flags_of(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_positional()) flags.push_back(flag_of(*option));
  return flags;
}

}  // namespace

Tool tool() {
  CLI::App app{"", "pagectl"};
  pagectl::Context context;
  std::function<int()> chosen;
  std::vector<pagectl::CommandPage> pages;
  app.set_version_flag("--version", "", "Print the version");
  pagectl::add_common_options(app, context);
  pagectl::add_commands({app, context, chosen, pages});

  const auto& page = pagectl::tool_page();
  Tool tool{page.about, page.forms, page.keys, page.status, page.example, flags_of(app), {}};
  for (const auto& each : pages) {
    Command command{
        each.app->get_name(), each.app->get_description(), each.about, each.forms, each.status, each.example, {},
        flags_of(*each.app)};
    for (const CLI::Option* option : each.app->get_options())
      if (option->get_positional()) command.operands.push_back({option->get_name(true), option->get_description()});
    tool.commands.push_back(std::move(command));
  }
  return tool;
}

}  // namespace pageserver::manuals
