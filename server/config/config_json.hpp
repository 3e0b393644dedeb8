// The configuration file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/config/config.hpp"

namespace pageserver::server {

/// Reads JSON `text` into `config`, which keeps its values where the text says nothing. Returns every fault, each with
/// the JSON path of the culprit and what was expected: `stores[1].path: expected a text, got 7`. Unknown keys are
/// faults and name the nearest known one.
std::vector<std::string> read_config(std::string_view text, Config& config);

}  // namespace pageserver::server
