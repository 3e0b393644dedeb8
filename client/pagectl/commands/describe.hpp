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

}  // namespace pageserver::pagectl
