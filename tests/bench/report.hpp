// The table for people, and the same as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/bench/rows.hpp"

namespace pageserver::bench {

struct Outcome {
  std::string id;
  std::string work;
  Bar bar;
  std::optional<Measured> measured;
  std::string not_available;  ///< not empty: why the row can't be measured here
  std::string failure;        ///< not empty: why it failed
};

/// The table's head, and one row, in Markdown that reads as text too.
std::string table_head();
std::string table_row(const Outcome& outcome);
/// What else was measured: other subjects, notes. Empty when there is nothing.
std::string details(const Outcome& outcome);

nlohmann::ordered_json to_json(const Settings& settings, const std::vector<Outcome>& outcomes);

}  // namespace pageserver::bench
