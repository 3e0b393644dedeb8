// Writes the manual pages and the shells' completion into a folder: pagectl(1) and one page a command, pageserverd(8),
// pageserverd.json(5), pageserver-uri(7). A test compares them with those that are in the source tree.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "client/uri/uri_keys.hpp"
#include "docs/manuals/roff.hpp"
#include "docs/manuals/tables.hpp"
#include "server/config/command_line.hpp"
#include "server/config/config_reference.hpp"

namespace {

using namespace pageserver;
using manuals::Page;

std::string both_names(const manuals::Flag& flag) {
  std::string names = flag.short_name;
  if (!flag.long_name.empty()) names += (names.empty() ? "" : ", ") + flag.long_name;
  return names + (flag.value.empty() ? "" : " " + flag.value);
}

void add_flags(Page& page, const std::vector<manuals::Flag>& flags) {
  page.heading("OPTIONS");
  for (const auto& flag : flags) page.item(both_names(flag), flag.help + ".");
}

/// What the help says behind a first line.
void add_status(Page& page, const std::string& status) {
  page.heading("EXIT STATUS");
  if (status.find('\n') == std::string::npos)
    page.text(status);
  else
    page.lines(status.substr(status.find('\n')));
}

std::string command_page(const manuals::Tool& tool, const manuals::Command& command) {
  Page page("pagectl-" + command.name, "1", command.what);
  page.heading("SYNOPSIS");
  std::string operands = "[OPTION...]";
  for (const auto& operand : command.operands) operands += " " + operand.name;
  page.synopsis("pagectl " + command.name, operands);
  if (!command.about.empty()) {
    page.heading("DESCRIPTION");
    page.text(command.about);
  }
  page.heading("OPERANDS");
  for (const auto& operand : command.operands) {
    const auto see = operand.help.find("; see below");
    page.item(operand.name, operand.help.substr(0, see) + ".");
  }
  page.lines(command.forms);
  page.text("What may stand behind the question mark is in pageserver-uri(7).");
  add_flags(page, command.flags);
  add_status(page, command.status.empty() ? tool.status : command.status);
  page.heading("EXAMPLES");
  page.lines(command.example);
  page.see_also("pagectl(1), pageserver-uri(7), pageserverd(8)");
  return page.source();
}

std::string tool_page(const manuals::Tool& tool) {
  Page page("pagectl", "1", "look at, copy, compare and measure memory images");
  page.heading("SYNOPSIS");
  page.synopsis("pagectl", "COMMAND [OPTION...] [OPERAND...]");
  page.heading("DESCRIPTION");
  page.text(tool.about);
  page.heading("COMMANDS");
  for (const auto& command : tool.commands)
    page.item(command.name, command.what + ": see pagectl-" + command.name + "(1).");
  page.heading("OPERANDS");
  page.lines(tool.forms);
  page.lines(tool.keys);
  add_flags(page, tool.flags);
  add_status(page, tool.status);
  page.heading("ENVIRONMENT");
  page.text(
      "None is looked at. Nothing is coloured, whatever NO_COLOR says, and what a terminal would obey in a text that a "
      "daemon sent is shown and not passed on.");
  page.heading("EXAMPLES");
  page.lines(tool.example);
  std::string pages;
  for (const auto& command : tool.commands) pages += "pagectl-" + command.name + "(1), ";
  page.see_also(pages + "pageserver-uri(7), pageserverd(8)");
  return page.source();
}

std::string daemon_page() {
  const auto program = server::program_page();
  Page page("pageserverd", "8", "serve memory images of 64 KiB pages");
  page.heading("SYNOPSIS");
  page.synopsis("pageserverd", "[OPTION...]");
  page.heading("DESCRIPTION");
  page.text(program.about);
  page.text(program.notes);
  page.heading("OPTIONS");
  for (const auto& flag : program.flags) page.item(flag.names, flag.help + ".");
  page.heading("EXIT STATUS");
  page.text(program.status);
  page.heading("EXAMPLES");
  page.lines(program.example);
  page.see_also("pagectl(1), pageserverd.json(5), pageserver-uri(7)");
  return page.source();
}

std::string config_page() {
  Page page("pageserverd.json", "5", "configuration file of pageserverd");
  page.heading("DESCRIPTION");
  page.text(server::config_introduction());
  std::string_view part;
  for (const auto& key : server::key_pages()) {
    if (key.part != part) page.heading(part = key.part);
    page.item(key.path, key.meaning + ". Values: " + key.values + ". Default: " + key.by_default + ".");
  }
  page.see_also("pageserverd(8)");
  return page.source();
}

std::string uri_page(const manuals::Tool& tool) {
  Page page("pageserver-uri", "7", "how a store or an image is named");
  page.heading("DESCRIPTION");
  page.text(
      "The same in every program: in the library (pageserver::open, ps_session_open, pageserver.open) and in "
      "pagectl(1). "
      "Percent-encoding and the brackets around an IPv6 address are those of RFC 3986. A text without a scheme is a "
      "path: "
      "no percent-decoding, no keys.");
  page.heading("FORMS");
  page.lines(tool.forms);
  page.heading("KEYS");
  page.text("Behind a question mark, with an ampersand between two. Each comes once, and an unknown one is an error.");
  for (const auto& key : client::uri_keys) {
    std::string schemes;
    for (const auto& [bit, name] : client::uri_schemes)
      if ((key.schemes & bit) != 0) schemes += (schemes.empty() ? "" : ", ") + std::string{name};
    page.item(std::string{key.name} + "=" + std::string{key.values},
              std::string{key.meaning} + ". For: " + schemes + ".");
  }
  page.heading("EXAMPLES");
  page.lines(
      "  pageserver://127.0.0.1/demo?access=read&view=pinned\n"
      "  pageserver://[::1]:6553/demo?publish=on_flush&cache_bytes=64MiB\n"
      "  pageserver+unix:///demo?socket=/run/pageserver.sock&access=fork\n"
      "  store:/var/lib/db.img?access=read\n"
      "  /var/lib/db.img");
  page.see_also("pagectl(1), pageserverd(8)");
  return page.source();
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw std::runtime_error("can't write " + path.string());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_manuals FOLDER\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    const auto tool = manuals::tool();
    write(folder / "man/pagectl.1", tool_page(tool));
    for (const auto& command : tool.commands)
      write(folder / ("man/pagectl-" + command.name + ".1"), command_page(tool, command));
    write(folder / "man/pageserverd.8", daemon_page());
    write(folder / "man/pageserverd.json.5", config_page());
    write(folder / "man/pageserver-uri.7", uri_page(tool));
    write(folder / "completion/pagectl.bash", manuals::bash_completion(tool));
    write(folder / "completion/_pagectl", manuals::zsh_completion(tool));
    write(folder / "completion/pagectl.fish", manuals::fish_completion(tool));
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "write_manuals: " << error.what() << '\n';
    return 1;
  }
}
