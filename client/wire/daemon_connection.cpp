#include "client/wire/daemon_connection.hpp"

#include <string>

#include "client/wire/administration.hpp"
#include "client/wire/error_text.hpp"
#include "client/wire/store_list.hpp"
#include "proto/codec.hpp"

namespace pageserver::client {
namespace {

std::string_view checked_name(std::string_view action, std::string_view store) {
  if (proto::is_store_name(store)) return store;
  throw MemoryError{Errc::invalid_argument, std::string{action} + ": " + no_store_name(store)};
}

}  // namespace

DaemonConnection::DaemonConnection(const Endpoint& endpoint, const ConnectionOptions& options)
    : connection_{endpoint, options} {
  const auto& server = connection_.server();
  info_ = {server.name, server.version, server.request_bytes_max, server.requests_in_flight_max};
}

std::chrono::nanoseconds DaemonConnection::ping() {
  return in_turn([](Connection& connection) {
    const auto began = Clock::now();
    connection.call(proto::PingRequest{}, [](const proto::PingAnswer&) {});
    return std::chrono::nanoseconds{Clock::now() - began};
  });
}

std::vector<ListedStore> DaemonConnection::list() {
  return in_turn([](Connection& connection) { return list_stores(connection); });
}

void DaemonConnection::create(std::string_view store, std::uint64_t pages) {
  const proto::CreateRequest request{checked_name("create", store), pages};
  in_turn([&](Connection& connection) { connection.call(request, [](const proto::CreateAnswer&) {}); });
}

void DaemonConnection::remove(std::string_view store) {
  const proto::RemoveRequest request{checked_name("remove", store)};
  in_turn([&](Connection& connection) { connection.call(request, [](const proto::RemoveAnswer&) {}); });
}

std::vector<SessionReport> DaemonConnection::sessions(std::string_view store) {
  return in_turn([&](Connection& connection) { return list_sessions(connection, store); });
}

Load DaemonConnection::load(std::string_view store) {
  return in_turn([&](Connection& connection) { return ask_load(connection, store); });
}

WhoAmI DaemonConnection::whoami(std::string_view store) {
  return in_turn([&](Connection& connection) { return ask_whoami(connection, store); });
}

Kicked DaemonConnection::kick(proto::KickWhat what, std::uint64_t id, std::string_view reason) {
  return in_turn([&](Connection& connection) { return client::kick(connection, what, id, reason); });
}

}  // namespace pageserver::client
