// docs/configuration.md, from the table in config_keys.hpp.
#pragma once

#include <string>

#include "server/config/config_keys.hpp"

namespace pageserver::server {

/// The default of a number, a mode, a flag or a word as the file has it, in JSON: `4096`, `"1MiB"`, `"10s"`, `"0640"`.
std::string default_json(const ConfigKey& key);

/// The whole document, as `pageserverd --print-config-reference` prints it.
std::string config_reference();

}  // namespace pageserver::server
