// docs/configuration.md, from the table in config_keys.hpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/config/config_keys.hpp"

namespace pageserver::server {

/// The default of a number, a mode, a flag or a word as the file has it, in JSON: `4096`, `"1MiB"`, `"10s"`, `"0640"`.
std::string default_json(const ConfigKey& key);

/// One key, in words. Backquotes mark what is typed.
struct KeyPage {
  std::string_view part;  ///< of the document: "Limits"
  std::string path;
  std::string values;
  std::string by_default;
  std::string meaning;
};
/// In the document's order.
std::vector<KeyPage> key_pages();
/// What there is to know before.
std::string_view config_introduction();

/// The whole document, as `pageserverd --print-config-reference` prints it.
std::string config_reference();

}  // namespace pageserver::server
