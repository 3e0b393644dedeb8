// Reports on stores, as JSON and as text.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <pageserver/session.hpp>

namespace pageserver::pagectl {

/// {"incarnation": "16 hex digits", "number": N}; null for none. Incarnations are random 64 bits, which not every
/// reader of JSON keeps exact as a number.
nlohmann::ordered_json version_json(const std::optional<Version>& version);

/// {"name", "address", "since" (ISO 8601, UTC), "since_unix_ms", "idle_ms", "epoch", "access", "view" or "publish"}
nlohmann::ordered_json holder_json(const HolderStat& holder);
/// "NAME at ADDRESS since TIME, idle for 3 s, epoch 7"
std::string holder_text(const HolderStat& holder);

/// {"at" (ISO 8601, UTC), "unix_ms", "log_bytes", "log_files", "records", "pages", "dropped_files", "dropped_records",
/// "kept_count"}: what a list and a report on one store both say.
nlohmann::ordered_json recovery_json(const Recovery& recovery);
/// "2026-01-31 12:00:00 UTC, 17 publishes from 1 file of the log, 1.5 MiB; dropped ...; kept aside ..."
std::string recovery_text(const Recovery& recovery);

/// What waits and hangs.
nlohmann::ordered_json load_json(const Load& load);
/// "2 calls to its disk are stuck, the oldest for 12.3 s"; empty where none is.
std::string stuck_text(const Load& load);

}  // namespace pageserver::pagectl
