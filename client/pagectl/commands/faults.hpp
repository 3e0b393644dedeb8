// How ordered faults are shown.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <pageserver/remote_provider.hpp>

namespace pageserver::pagectl {

nlohmann::ordered_json faults_json(const std::vector<OrderedFault>& faults);
/// "write:3:no_space: struck 1 of 5 requests"
std::string fault_text(const OrderedFault& fault);

}  // namespace pageserver::pagectl
