// sessions and kick: who uses a daemon, and that somebody goes.
#include <algorithm>
#include <array>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/access.hpp"
#include "base/text.hpp"
#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/commands/server_uri.hpp"
#include "client/pagectl/commands/session_report.hpp"
#include "client/pagectl/images/remote.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/wire/administration.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

}  // namespace

Json session_json(const SessionReport& report) {
  Json json = {{"connection", report.connection_id},
               {"session", has_session(report) ? Json(report.session_id) : Json(nullptr)},
               {"state", to_string(report.state)},
               {"waits_for", report.waits_for == WaitsFor::nothing ? Json(nullptr) : Json(to_string(report.waits_for))},
               {"address", report.address},
               {"client", report.client_name},
               {"connected_ms", report.connected_ms},
               {"idle_ms", report.idle_ms},
               {"requests_in_flight", report.requests_in_flight},
               {"request_ms", report.request_ms},
               {"unsent_bytes", report.unsent_bytes},
               {"kicked", report.kicked},
               {"transport", report.ring ? "ring" : "socket"},
               {"uid", report.peer_known ? Json(report.peer_uid) : Json(nullptr)},
               {"pid", report.peer_known && report.peer_pid != 0 ? Json(report.peer_pid) : Json(nullptr)}};
  if (!has_session(report)) return json;
  json.update({{"store", report.store},
               {"name", report.session_name},
               {"access", base::name_of(report.access)},
               {"view", report.view == View::live ? "live" : "pinned"},
               {"publish", report.publish == Publish::on_write ? "on_write" : "on_flush"},
               {"opened_ms", report.opened_ms},
               {"has_lease", report.has_lease},
               {"lost_lease", report.lost_lease},
               {"epoch", report.epoch},
               {"place_in_line", report.place_in_line == 0 ? Json(nullptr) : Json(report.place_in_line)},
               {"held_version", report.held_version == 0 ? Json(nullptr) : Json(report.held_version)},
               {"requests", report.requests},
               {"bytes_read", report.bytes_read},
               {"bytes_written", report.bytes_written},
               {"private_bytes", report.private_bytes}});
  return json;
}

std::string access_text(const SessionReport& report) {
  if (!has_session(report)) return "-";
  if (report.access == Access::write) return report.publish == Publish::on_write ? "write" : "write/flush";
  if (report.access == Access::fork) return "fork";
  return report.view == View::live ? "read" : "read/pinned";
}

/// What it does, in words.
std::string doing_text(const SessionReport& report) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (report.kicked) add("is being kicked");
  switch (report.state) {
    case SessionState::greeting: add("has not said hello"); break;
    case SessionState::front: break;
    case SessionState::opening: add("opens"); break;
    case SessionState::in_line: add("in line, place " + std::to_string(report.place_in_line)); break;
    case SessionState::session: break;
    case SessionState::leaving: add("leaving"); break;
    case SessionState::detached: add("detached, its client may come back"); break;
    default: add(to_string(report.state));
  }
  if (report.has_lease) add("has the lease");
  if (report.lost_lease) add("lost its lease");
  if (report.held_version != 0) add("holds version " + std::to_string(report.held_version));
  if (report.private_bytes != 0) add(bytes_text(report.private_bytes) + " private");
  if (report.unsent_bytes != 0) add("does not take " + bytes_text(report.unsent_bytes));
  if (report.requests_in_flight != 0) {
    std::string flight =
        std::to_string(report.requests_in_flight) + " in flight for " + elapsed_text(report.request_ms);
    if (report.waits_for != WaitsFor::nothing && report.waits_for != WaitsFor::lease)
      flight += ", waits for " + to_string(report.waits_for);
    add(flight);
  } else {
    add("idle for " + elapsed_text(report.idle_ms));
  }
  return text;
}

std::string who_text(const SessionReport& report) {
  std::string who = base::visible(report.session_name.empty() ? report.client_name : report.session_name);
  who = (who.empty() ? "-" : who) + " at " + base::visible(report.address);
  if (report.peer_known) who += " uid " + std::to_string(report.peer_uid);
  return who;
}

namespace {

Row row_of(const SessionReport& report) {
  return {has_session(report) ? std::to_string(report.session_id) : "-",
          std::to_string(report.connection_id),
          report.store.empty() ? "-" : base::visible(report.store),
          access_text(report),
          elapsed_text(report.connected_ms),
          has_session(report) ? std::to_string(report.requests) : "-",
          has_session(report) ? bytes_text(report.bytes_read) : "-",
          has_session(report) ? bytes_text(report.bytes_written) : "-",
          who_text(report),
          doing_text(report)};
}

void print_rows(Context& context, const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += row[i];
      if (i + 1 != row.size()) line.append(widths[i] - row[i].size(), ' ');
    }
    context.result(line);
  }
}

}  // namespace

int run_sessions(Context& context, const SessionsOptions& options) {
  const auto uri = parse_server(options.server);
  const auto connection = dial(uri);
  const auto sessions = client::list_sessions(*connection, options.store);
  if (context.json) {
    auto list = Json::array();
    for (const auto& session : sessions) list.push_back(session_json(session));
    context.out.json({{"server", uri.endpoint.uri()},
                      {"own_connection", connection->server().connection_id},
                      {"sessions", std::move(list)}});
    return exit_done;
  }
  std::vector<Row> rows{
      {"SESSION", "CONNECTION", "STORE", "ACCESS", "AGE", "REQUESTS", "READ", "WRITTEN", "WHO", "DOES"}};
  for (const auto& session : sessions) rows.push_back(row_of(session));
  print_rows(context, rows);
  return exit_done;
}

int run_kick(Context& context, const KickOptions& options) {
  const auto uri = parse_server(options.server);
  const auto connection = dial(uri);
  const auto what = options.connection ? proto::KickWhat::connection : proto::KickWhat::session;
  const Kicked kicked = client::kick(*connection, what, options.id, options.reason);
  if (context.json) {
    context.out.json({{"kicked", session_json(kicked.session)}, {"released", kicked.released}});
    return kicked.released ? exit_done : exit_failed;
  }
  const std::string which = std::string(options.connection ? "connection " : "session ") + std::to_string(options.id);
  const Row row = row_of(kicked.session);
  const std::string on = kicked.session.store.empty() ? "" : " on " + kicked.session.store;
  if (!kicked.released) {
    context.result(which + on + " (" + row[8] + ") is being ended: a call to a disk still has hold of it");
    return exit_failed;
  }
  context.note("ended " + which + on + " (" + row[8] + ")");
  return exit_done;
}

}  // namespace pageserver::pagectl
