// ps_daemon_*: a connection without a session.
#include <memory>
#include <string>
#include <utility>

#include <pageserver/pageserver.h>
#include <pageserver/async_session.hpp>

#include "client/c/guard.hpp"
#include "client/c/options.hpp"
#include "client/c/results.hpp"
#include "client/open_uri.hpp"
#include "client/wire/daemon_connection.hpp"

using pageserver::c::given;
using pageserver::c::guarded;

struct ps_daemon {
  explicit ps_daemon(pageserver::c::Target given_target)
      : target{std::move(given_target)},
        connection{target.uri.endpoint,
                   {target.uri.connect_timeout, target.uri.request_timeout, target.uri.poll_us, target.client_name,
                    target.uri.token_file, target.token}} {}

  const pageserver::c::Target target;
  pageserver::client::DaemonConnection connection;
};

namespace {

/// Calls `call(DaemonConnection&)`.
template <class Call>
int with_connection(ps_daemon* daemon, const char* function, ps_error* error, Call call) noexcept {
  return guarded(error, [&] { call(given(daemon, function, "daemon").connection); });
}

}  // namespace

int ps_daemon_open(const char* uri, const ps_options* options, ps_daemon** daemon, ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    auto& out = given(daemon, f, "daemon");
    out = nullptr;
    auto target = pageserver::c::target_of(uri, options, pageserver::client::UriTarget::server, f);
    out = std::make_unique<ps_daemon>(std::move(target)).release();
  });
}

void ps_daemon_close(ps_daemon* daemon) { delete daemon; }

int ps_daemon_ping(ps_daemon* daemon, uint64_t* round_trip_ns, ps_error* error) {
  return with_connection(daemon, __func__, error, [&](auto& connection) {
    const auto took = connection.ping();
    if (round_trip_ns != nullptr) *round_trip_ns = static_cast<std::uint64_t>(took.count());
  });
}

int ps_daemon_describe(ps_daemon* daemon, const ps_daemon_info** info, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(info, f, "info");
    const auto& known = connection.info();
    auto found = std::make_unique<pageserver::c::DaemonInfoResult>(known.name);
    found->protocol_version = known.protocol_version;
    found->request_bytes_max = known.request_bytes_max;
    found->requests_in_flight_max = known.requests_in_flight_max;
    out = found.release();
  });
}

int ps_daemon_list(ps_daemon* daemon, const ps_stores** stores, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(stores, f, "stores");
    out = std::make_unique<pageserver::c::StoresResult>(connection.list()).release();
  });
}

int ps_daemon_create(ps_daemon* daemon, const char* store, uint64_t pages, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error,
                         [&](auto& connection) { connection.create(&given(store, f, "store"), pages); });
}

int ps_daemon_remove(ps_daemon* daemon, const char* store, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) { connection.remove(&given(store, f, "store")); });
}

int ps_daemon_sessions(ps_daemon* daemon, const char* store, const ps_sessions** sessions, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(sessions, f, "sessions");
    out = std::make_unique<pageserver::c::SessionsResult>(connection.sessions(store == nullptr ? "" : store)).release();
  });
}

int ps_daemon_whoami(ps_daemon* daemon, const char* store, const ps_identity** identity, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(identity, f, "identity");
    out = std::make_unique<pageserver::c::IdentityResult>(connection.whoami(store == nullptr ? "" : store)).release();
  });
}

int ps_daemon_load(ps_daemon* daemon, const char* store, const ps_load** load, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(load, f, "load");
    out = std::make_unique<pageserver::c::LoadResult>(connection.load(store == nullptr ? "" : store)).release();
  });
}

int ps_daemon_kick(ps_daemon* daemon, int what, uint64_t id, const char* reason, const ps_kicked** kicked,
                   ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    if (what != PS_KICK_SESSION && what != PS_KICK_CONNECTION)
      throw pageserver::MemoryError{
          pageserver::Errc::invalid_argument,
          std::string{f} + ": what=" + std::to_string(what) + " is neither PS_KICK_SESSION nor PS_KICK_CONNECTION"};
    using pageserver::proto::KickWhat;
    const auto meant = what == PS_KICK_SESSION ? KickWhat::session : KickWhat::connection;
    auto found = connection.kick(meant, id, reason == nullptr ? "" : reason);
    if (kicked != nullptr) *kicked = std::make_unique<pageserver::c::KickedResult>(std::move(found)).release();
  });
}

int ps_daemon_break_lease(ps_daemon* daemon, const char* store, uint64_t epoch, const ps_holder** broken,
                          ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    const auto& target = given(daemon, f, "daemon").target;
    auto uri = target.uri;
    uri.store = &given(store, f, "store");
    uri.access = pageserver::Access::read;  // the daemon answers to sessions of the store only
    auto options = pageserver::client::remote_options(std::move(uri));
    options.client_name = target.client_name;
    options.token = target.token;
    pageserver::AsyncSession session{std::move(options)};
    std::unique_ptr<pageserver::c::HolderResult> writer;
    session.break_lease(epoch, [&](const pageserver::MemoryError* failed, const auto& found) {
      if (failed != nullptr) throw pageserver::MemoryError{*failed};
      if (found && broken != nullptr) writer = std::make_unique<pageserver::c::HolderResult>(*found);
    });
    session.run_until([&] { return session.outstanding() == 0; });
    if (broken != nullptr) *broken = writer.release();
  });
}
