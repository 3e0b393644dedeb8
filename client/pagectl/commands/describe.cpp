#include "client/pagectl/commands/describe.hpp"

#include <nlohmann/json.hpp>

#include "base/access.hpp"
#include "base/text.hpp"
#include "client/pagectl/terminal/numbers.hpp"

namespace pageserver::pagectl {
namespace {

std::string iso_time(std::int64_t unix_ms) {
  std::string text = time_text(unix_ms);  // 2026-01-31 12:00:00 UTC
  if (text.size() != 23) return text;
  return text.substr(0, 10) + "T" + text.substr(11, 8) + "Z";
}

}  // namespace

nlohmann::ordered_json version_json(const std::optional<Version>& version) {
  if (!version) return nullptr;
  return {{"incarnation", hex16(version->incarnation)}, {"number", version->number}};
}

nlohmann::ordered_json holder_json(const HolderStat& holder) {
  nlohmann::ordered_json out{{"name", holder.name},
                             {"address", holder.address},
                             {"since", iso_time(holder.since_unix_ms)},
                             {"since_unix_ms", holder.since_unix_ms},
                             {"idle_ms", holder.idle_ms},
                             {"epoch", holder.epoch},
                             {"access", base::name_of(holder.access)}};
  if (holder.access == Access::read) out["view"] = holder.view == View::pinned ? "pinned" : "live";
  if (holder.access == Access::write) out["publish"] = holder.publish == Publish::on_flush ? "on_flush" : "on_write";
  if (holder.access != Access::write) out["version_number"] = holder.version_number;
  return out;
}

std::string holder_text(const HolderStat& holder) {
  std::string out = holder.name.empty() ? "(no name)" : base::visible(holder.name);
  out += " at " + base::visible(holder.address) + " since " + time_text(holder.since_unix_ms);
  out += ", idle for " + std::to_string(holder.idle_ms / 1000) + " s";
  if (holder.access == Access::write) {
    out += ", epoch " + std::to_string(holder.epoch);
  } else {
    out += ", version " + std::to_string(holder.version_number);
  }
  return out;
}

}  // namespace pageserver::pagectl
