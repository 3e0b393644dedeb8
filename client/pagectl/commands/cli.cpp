#include "client/pagectl/commands/cli.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <pageserver/error.hpp>

#include "base/nearest.hpp"
#include "base/text.hpp"
#include "client/pagectl/commands/cli_commands.hpp"

namespace pageserver::pagectl {
namespace {

using Words = std::vector<std::string>;

[[noreturn]] void refuse(const std::string& message) { throw MemoryError(Errc::invalid_argument, message); }

std::string did_you_mean(const std::string& word, const Words& known) {
  const auto meant = base::nearest(word, {known.begin(), known.end()});
  return meant ? "; did you mean `" + *meant + "`?" : "";
}

Words command_names(const CLI::App& app) {
  Words names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

Words option_names(const CLI::App& app) {
  Words names;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_lnames().empty()) names.push_back("--" + option->get_lnames().front());
  return names;
}

/// The first word that is no option: those in front of a command take no values.
Words::iterator find_command(Words& words) {
  return std::find_if(words.begin(), words.end(), [](const std::string& word) { return !word.starts_with('-'); });
}

/// `help` and `help COMMAND`, as people type them.
void translate_help(Words& words) {
  const auto command = find_command(words);
  if (command == words.end() || *command != "help") return;
  if (command + 1 == words.end())
    *command = "--help";
  else
    words = {*(command + 1), "--help"};
}

void check_command(const CLI::App& app, Words& words) {
  const auto command = find_command(words);
  if (command == words.end()) return;
  const Words known = command_names(app);
  if (std::find(known.begin(), known.end(), *command) != known.end()) return;
  const std::string meant = did_you_mean(*command, known);
  refuse("there is no command " + base::quoted(*command) + (meant.empty() ? "; `pagectl --help` lists them" : meant));
}

/// What is wrong with the words, in ours.
[[noreturn]] void refuse_words(const CLI::App& app, const CLI::ParseError& error) {
  const auto given = app.get_subcommands();
  const CLI::App& command = given.empty() ? app : *given.front();
  const std::string name = given.empty() ? "" : command.get_name();
  const std::string see = "; see `pagectl" + (name.empty() ? "" : " " + name) + " --help`";
  const std::string before = name.empty() ? "" : name + ": ";
  Words left = command.remaining();
  if (left.empty()) left = app.remaining();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr || left.empty()) refuse(before + error.what() + see);
  const std::string& word = left.front();
  if (word.size() < 2 || word.front() != '-') refuse(before + base::quoted(word) + " is one operand too many" + see);
  const std::string option = word.substr(0, word.find('='));
  const std::string meant = did_you_mean(option, option_names(command));
  refuse(before + "there is no option " + base::quoted(option) + (meant.empty() ? see : meant));
}

}  // namespace

int run_command_line(Context& context, int argc, const char* const* argv) {
  Words words(argv + std::min(argc, 1), argv + argc);
  // Known before anything else, so that what is wrong with the other words is one document too.
  const auto options_end = std::find(words.begin(), words.end(), "--");
  context.json = std::find(words.begin(), options_end, "--json") != options_end;
  // What is behind -- is the words of another program, for `run`.
  const auto command = find_command(words);
  const auto own_end = command != words.end() && *command == "run" ? options_end : words.end();
  if (std::any_of(words.begin(), own_end, [](const std::string& word) { return word.empty(); }))
    refuse("one of the words is empty: is a variable of the script not set?");

  if (std::find(words.begin(), own_end, "-") != own_end)
    refuse(
        "\"-\" is no image: `pagectl read` writes to a pipe, and `pagectl write` reads from one; a file of that "
        "name is ./-");

  const ToolPage& page = tool_page();
  CLI::App app{page.about, "pagectl"};
  app.footer(page.forms + page.keys + "\n" + page.status + "\n\nExample:\n" + page.example);
  app.set_version_flag("--version", "pagectl " PAGECTL_VERSION, "Print the version");
  app.require_subcommand(0, 1);
  add_common_options(app, context);
  std::function<int()> chosen;
  std::vector<CommandPage> pages;
  add_commands({app, context, chosen, pages});

  translate_help(words);
  check_command(app, words);
  std::reverse(words.begin(), words.end());  // as it takes them
  try {
    app.parse(words);
  } catch (const CLI::Success& asked) {
    // Through our own output: one that is closed or full is then an error, not silence.
    std::ostringstream out;
    app.exit(asked, out, out);
    context.out.text(out.str());
    return exit_done;
  } catch (const CLI::ParseError& error) {
    refuse_words(app, error);
  }
  if (!chosen) refuse("a command is needed: see `pagectl --help`");
  return chosen();
}

}  // namespace pageserver::pagectl
