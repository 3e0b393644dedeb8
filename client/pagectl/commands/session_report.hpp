// A connection of a daemon in words, and as JSON: what several commands tell of it.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <pageserver/administration.hpp>

namespace pageserver::pagectl {

/// Or waits for one.
inline bool has_session(const SessionReport& report) { return report.session_id != 0; }

nlohmann::ordered_json session_json(const SessionReport& report);
/// "read", "read/pinned", "write", "write/flush", "fork"; "-" without a session.
std::string access_text(const SessionReport& report);
/// What it does: "has the lease, idle for 350 ms".
std::string doing_text(const SessionReport& report);
/// "NAME at ADDRESS uid 1000", visible.
std::string who_text(const SessionReport& report);

}  // namespace pageserver::pagectl
