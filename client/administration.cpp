#include <pageserver/administration.hpp>

#include "base/access.hpp"

namespace pageserver {

std::string rights_text(std::uint32_t rights) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  for (const base::NamedRight& each : base::rights_by_name) {
    const auto bit = static_cast<std::uint32_t>(each.right);
    if ((rights & bit) != 0) add(std::string{each.name});
    rights &= ~bit;
  }
  if (rights != 0) add("rights " + std::to_string(rights));
  return text.empty() ? "nothing" : text;
}

std::string to_string(SessionState state) {
  switch (state) {
    case SessionState::greeting: return "greeting";
    case SessionState::front: return "front";
    case SessionState::opening: return "opening";
    case SessionState::in_line: return "in_line";
    case SessionState::session: return "session";
    case SessionState::leaving: return "leaving";
    case SessionState::detached: return "detached";
  }
  return "state " + std::to_string(static_cast<unsigned>(state));
}

std::string to_string(WaitsFor waits_for) {
  const std::string_view name = base::name_of(waits_for);
  return name.empty() ? "waits_for " + std::to_string(static_cast<unsigned>(waits_for)) : std::string{name};
}

}  // namespace pageserver
