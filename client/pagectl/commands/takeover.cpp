// takeover: a store of another daemon is served by this one from now on.
#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/server_uri.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/wire/administration.hpp"

namespace pageserver::pagectl {

int run_takeover(Context& context, const TakeoverOptions& options) {
  client::Uri uri = client::parse_uri(options.uri, Access::read);
  if (!uri.is_remote())
    throw MemoryError(Errc::invalid_argument,
                      "takeover " + options.uri + ": expected a store at the daemon that is to serve it");
  if (!uri.endpoint.others.empty())
    throw MemoryError(
        Errc::invalid_argument,
        "takeover " + options.uri + ": name one host alone, that of the daemon that is to serve the store");
  std::string store;
  std::swap(store, uri.store);
  const auto connection = dial(uri);
  const client::TakenOver taken = client::take_over(*connection, store, options.dead);
  if (context.json) {
    context.out.json(
        {{"server", uri.endpoint.uri()},
         {"store", store},
         {"was_here", taken.was_here},
         {"took_ms", taken.took_ms},
         {"holder", taken.holder.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(taken.holder)}});
    return exit_done;
  }
  if (taken.was_here)
    context.result(store + ": this daemon serves it already");
  else
    context.result(store + ": taken over in " + std::to_string(taken.took_ms) + " ms" +
                   (taken.holder.empty() ? std::string(", from nobody") : " from " + base::visible(taken.holder)));
  return exit_done;
}

}  // namespace pageserver::pagectl
