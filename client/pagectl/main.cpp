// pagectl: looks at, copies, compares and measures memory images, in files and in daemons.
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/secrets.hpp"
#include "base/standard_streams.hpp"
#include "client/pagectl/commands/cli.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/terminal/signals.hpp"

namespace {

using namespace pageserver;
using namespace pageserver::pagectl;

/// Whether the same may go well later.
bool may_pass(Errc code) {
  return code == Errc::busy || code == Errc::lease_lost || code == Errc::snapshot_too_old ||
         code == Errc::connection_lost || code == Errc::timed_out;
}

int report(Context& context, Errc code, bool passing, const std::string& text) {
  const std::string message = base::without_secrets(text);
  complain(message);
  // Where one document was asked for, a failure is one too, unless the result is out in part already.
  if (context.json && !context.out.used()) {
    context.out.json({{"error", {{"code", std::string(to_string(code))}, {"message", message}}}});
    context.out.flush();
  }
  if (code == Errc::invalid_argument) return exit_usage;
  return passing ? context.try_again_status : context.failed_status;
}

int run(Context& context, int argc, const char* const* argv) {
  try {
    const int status = run_command_line(context, argc, argv);
    context.out.flush();
    return status;
  } catch (const NoRoomNow& error) {
    return report(context, error.errc(), true, error.what());
  } catch (const MemoryError& error) {
    return report(context, error.errc(), may_pass(error.errc()), error.what());
  } catch (const BrokenPipe&) {
    return context.failed_status;
  } catch (const std::exception& error) {
    return report(context, Errc::provider_error, false, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  pageserver::base::occupy_standard_streams();
  watch_signals();
  // A file that grows past `ulimit -f`, standard output too, is an error that says so.
  ::signal(SIGXFSZ, SIG_IGN);
  Context context;
  int status = exit_failed;
  try {
    // The tool goes on with copies.
    const std::vector<std::string> words(argv, argv + argc);
    pageserver::base::hide_secrets(argc, argv);
    std::vector<const char*> copies;
    copies.reserve(words.size());
    for (const std::string& word : words) copies.push_back(word.c_str());
    status = run(context, argc, copies.data());
  } catch (const std::exception&) {
    // Not even the error could be written.
    status = context.failed_status;
  }
  // Without destroying statics: the thread that waits for signals may be using them.
  std::_Exit(status);
}
