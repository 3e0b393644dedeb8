// faults: what goes wrong on order at a store of a daemon for tests.
#include "client/pagectl/commands/faults.hpp"

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "base/text.hpp"
#include "client/open_uri.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/uri/uri.hpp"

namespace pageserver::pagectl {

nlohmann::ordered_json faults_json(const std::vector<OrderedFault>& faults) {
  auto entries = nlohmann::ordered_json::array();
  for (const OrderedFault& fault : faults)
    entries.push_back({{"order", fault.order}, {"seen", fault.seen}, {"struck", fault.struck}});
  return entries;
}

std::string fault_text(const OrderedFault& fault) {
  return base::visible(fault.order) + ": struck " + std::to_string(fault.struck) + " of " + std::to_string(fault.seen) +
         (fault.seen == 1 ? " request" : " requests");
}

int run_faults(Context& context, const FaultsOptions& options) {
  client::Uri uri = client::parse_uri(options.uri, Access::read);
  if (!uri.is_remote())
    throw MemoryError(Errc::invalid_argument, "faults " + options.uri + ": only a daemon strikes faults on order");
  const RemoteOptions remote = client::remote_options(std::move(uri));
  RemoteProvider session = opened_session(remote, [&] { return RemoteProvider(remote); });
  std::vector<OrderedFault> faults =
      options.clear ? session.clear_faults(FaultScope::store) : session.faults(FaultScope::store);
  // Where both are wanted what is added is all that there is then.
  for (const std::string& orders : options.add) faults = session.order_faults(orders, FaultScope::store);
  if (context.json) {
    context.out.json({{"uri", options.uri}, {"faults", faults_json(faults)}});
    return exit_done;
  }
  for (const OrderedFault& fault : faults) context.result(fault_text(fault));
  if (faults.empty()) context.note("nothing is ordered");
  if (options.clear && options.add.empty() && !faults.empty()) context.note("cleared");
  return exit_done;
}

}  // namespace pageserver::pagectl
