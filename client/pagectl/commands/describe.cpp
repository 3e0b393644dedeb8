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

std::string counted(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
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

nlohmann::ordered_json recovery_json(const Recovery& recovery) {
  return {{"at", iso_time(recovery.unix_ms)},
          {"unix_ms", recovery.unix_ms},
          {"log_bytes", recovery.log_bytes},
          {"log_files", recovery.log_files},
          {"records", recovery.records},
          {"pages", recovery.pages},
          {"dropped_files", recovery.dropped_files},
          {"dropped_records", recovery.dropped_records},
          {"kept_count", recovery.kept_count}};
}

std::string recovery_text(const Recovery& recovery) {
  std::string out = time_text(recovery.unix_ms) + ", " + counted(recovery.records, "publish", "publishes") + " from " +
                    counted(recovery.log_files, "file", "files") + " of the log, " + bytes_text(recovery.log_bytes);
  if (recovery.dropped_files != 0 || recovery.dropped_records != 0)
    out += "; dropped " + counted(recovery.dropped_files, "file", "files") + " with " +
           counted(recovery.dropped_records, "whole publish", "whole publishes");
  if (recovery.kept_count != 0) out += "; kept aside " + counted(recovery.kept_count, "file", "files");
  return out;
}

nlohmann::ordered_json load_json(const Load& load) {
  return {{"connections", load.connections},
          {"directory_requests", load.directory_requests},
          {"disk_calls_waiting", load.disk_calls_waiting},
          {"disk_calls_running", load.disk_calls_running},
          {"disk_threads_max", load.disk_threads_max},
          {"store_calls_waiting", load.store_calls_waiting},
          {"store_calls_stuck", load.store_calls_stuck},
          {"stuck_ms", load.stuck_ms}};
}

std::string stuck_text(const Load& load) {
  if (load.store_calls_stuck == 0) return {};
  return (load.store_calls_stuck == 1
              ? "1 call to its disk is stuck, for "
              : std::to_string(load.store_calls_stuck) + " calls to its disk are stuck, the oldest for ") +
         elapsed_text(load.stuck_ms);
}

}  // namespace pageserver::pagectl
