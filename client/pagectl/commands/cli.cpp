#include "client/pagectl/commands/cli.hpp"

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "client/pagectl/commands/cli_commands.hpp"

namespace pageserver::pagectl {
namespace {

constexpr const char* description =
    "Looks at, copies, compares and measures memory images of 64 KiB pages, in files and in daemons.";

constexpr const char* footer_text =
    "Where a URI is wanted:\n"
    "  pageserver://HOST[:PORT]/STORE           a store of a daemon (port 6553)\n"
    "  pageserver+unix:///STORE?socket=PATH     the same over a Unix socket\n"
    "  store:PATH                               an image with the store engine in this process\n"
    "  PATH or file:PATH                        a plain image file\n"
    "  heap:                                    an empty image in memory, for replay and bench\n"
    "Keys behind ? of a remote URI: access, view, publish, wait_ms, name, connect_timeout, request_timeout,\n"
    "  poll_us=auto|0..1000 (look for answers before sleeping), cache_bytes=SIZE (keep pages, and writes until flush)\n"
    "SERVER is HOST[:PORT], pageserver://HOST[:PORT] or pageserver+unix:///?socket=PATH.\n"
    "Numbers may be written as 65536, 0x10000 or 64KiB.\n\n"
    "Exit status: 0 done, 1 failed or diff found a difference, 2 usage.\n\n"
    "Example:\n"
    "  pagectl list 127.0.0.1\n"
    "  pagectl copy pageserver://127.0.0.1/demo backup.img";

}  // namespace

int run_command_line(Context& context, int argc, const char* const* argv) {
  CLI::App app{description, "pagectl"};
  app.footer(footer_text);
  app.set_version_flag("--version", "pagectl " PAGECTL_VERSION, "Print the version");
  app.require_subcommand(0, 1);
  add_common_options(app, context);
  std::function<int()> chosen;
  const CommandSink sink{app, context, chosen};
  add_server_commands(sink);
  add_image_commands(sink);
  add_work_commands(sink);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Through our own output: one that is closed or full is then an error, not silence.
    std::ostringstream out;
    std::ostringstream complaint;
    const int status = app.exit(error, out, complaint);
    context.out.text(out.str());
    if (status == 0) return exit_done;
    std::string text = complaint.str();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    complain(text);
    return exit_usage;
  }
  if (!chosen) {
    complain("a command is needed: see `pagectl --help`");
    return exit_usage;
  }
  return chosen();
}

}  // namespace pageserver::pagectl
