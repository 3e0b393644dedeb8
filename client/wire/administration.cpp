#include "client/wire/administration.hpp"

#include "client/uri/uri_text.hpp"
#include "client/wire/error_text.hpp"
#include "proto/library_values.hpp"

namespace pageserver::client {
namespace {

void check(const Connection& connection, std::string_view operation, std::string_view store) {
  if ((connection.server().features & proto::feature_sessions) == 0)
    throw MemoryError{Errc::unsupported, error_text(connection.context(), operation,
                                                    "the daemon is too old to say who uses it; `pagectl info` and "
                                                    "`pagectl lease --break` are what it has")};
  if (!store.empty() && !proto::is_store_name(store))
    throw MemoryError{Errc::invalid_argument, error_text(connection.context(), operation, no_store_name(store))};
}

}  // namespace

std::vector<SessionReport> list_sessions(Connection& connection, std::string_view store) {
  check(connection, "sessions", store);
  std::vector<SessionReport> sessions;
  std::uint64_t after = 0;
  for (bool more = true; more;) {
    bool rises = true;
    const std::uint64_t asked = after;
    connection.call(proto::SessionsRequest{asked, store}, [&](const proto::SessionsAnswer& answer) {
      more = answer.more;
      for (const auto& entry : answer.entries) {
        rises = rises && entry.connection_id > after && entry.connection_id <= answer.described_until;
        after = entry.connection_id;
        sessions.push_back(proto::from_wire(entry));
      }
      after = answer.described_until;
    });
    if (!rises || (more && after <= asked))
      throw MemoryError{Errc::protocol_error,
                        error_text(connection.context(), "sessions",
                                   "after=" + std::to_string(asked) + " was answered with ids that do not rise")};
  }
  return sessions;
}

Load ask_load(Connection& connection, std::string_view store) {
  check(connection, "sessions", store);
  Load load;
  // Behind the last one: only the report is wanted.
  connection.call(proto::SessionsRequest{~std::uint64_t{0}, store},
                  [&load](const proto::SessionsAnswer& answer) { load = answer.load; });
  return load;
}

WhoAmI ask_whoami(Connection& connection, std::string_view store) {
  if ((connection.server().features & proto::feature_identity) == 0)
    throw MemoryError{Errc::unsupported, error_text(connection.context(), "whoami",
                                                    "the daemon is too old to know who asks: whoever reaches it may do "
                                                    "everything")};
  if (!store.empty() && !proto::is_store_name(store))
    throw MemoryError{Errc::invalid_argument, error_text(connection.context(), "whoami", no_store_name(store))};
  WhoAmI found;
  connection.call(proto::WhoamiRequest{store}, [&found](const proto::WhoamiAnswer& answer) {
    found = {std::string{answer.identity}, answer.rights, std::string{answer.why}};
  });
  return found;
}

TakenOver take_over(Connection& connection, std::string_view store, bool holder_is_dead) {
  if ((connection.server().features & proto::feature_takeover) == 0)
    throw MemoryError{Errc::unsupported, error_text(connection.context(), "takeover",
                                                    "the daemon is too old to be asked; stop the one that has the "
                                                    "store, or wait until its lease has run out")};
  if (!proto::is_store_name(store))
    throw MemoryError{Errc::invalid_argument, error_text(connection.context(), "takeover", no_store_name(store))};
  TakenOver taken;
  connection.call(proto::TakeoverRequest{store, holder_is_dead}, [&taken](const proto::TakeoverAnswer& answer) {
    taken = {answer.was_here, answer.took_ms, std::string{answer.holder}};
  });
  return taken;
}

Kicked kick(Connection& connection, proto::KickWhat what, std::uint64_t id, std::string_view reason) {
  check(connection, "kick", {});
  if (!is_session_name(reason))
    throw MemoryError{Errc::invalid_argument,
                      error_text(connection.context(), "kick",
                                 "the reason is not at most 255 bytes of UTF-8 without control characters")};
  Kicked kicked;
  connection.call(proto::KickRequest{id, what, reason}, [&kicked](const proto::KickAnswer& answer) {
    kicked.released = answer.released;
    kicked.session = proto::from_wire(answer.kicked);
  });
  return kicked;
}

}  // namespace pageserver::client
