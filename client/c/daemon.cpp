// ps_daemon_*: a connection without a session.
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <pageserver/pageserver.h>
#include <pageserver/async_session.hpp>

#include "base/mutex.hpp"
#include "base/text.hpp"
#include "client/c/guard.hpp"
#include "client/c/options.hpp"
#include "client/c/results.hpp"
#include "client/open_uri.hpp"
#include "client/wire/connection.hpp"
#include "client/wire/store_list.hpp"
#include "proto/codec.hpp"

using pageserver::c::given;
using pageserver::c::guarded;

struct ps_daemon {
  explicit ps_daemon(pageserver::c::Target given_target)
      : target{std::move(given_target)},
        connection{target.uri.endpoint,
                   {target.uri.connect_timeout, target.uri.request_timeout, target.uri.poll_us, target.client_name}} {}

  const pageserver::c::Target target;
  pageserver::Mutex mutex;
  pageserver::client::Connection connection PAGESERVER_GUARDED_BY(mutex);
};

namespace {

namespace proto = pageserver::proto;

/// Calls `call(Connection&)` with no other thread in it.
template <class Call>
int with_connection(ps_daemon* daemon, const char* function, ps_error* error, Call call) noexcept {
  return guarded(error, [&] {
    auto& opened = given(daemon, function, "daemon");
    const pageserver::Lock lock{opened.mutex};
    call(opened.connection);
  });
}

const char* checked_name(const char* store, const char* function) {
  given(store, function, "store");
  if (!proto::is_store_name(store))
    throw pageserver::MemoryError{pageserver::Errc::invalid_argument,
                                  std::string{function} + ": " + pageserver::base::quoted(store) +
                                      " is no store's name: expected a letter or " +
                                      "digit, then at most 63 letters, digits, dots, underscores and hyphens"};
  return store;
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
    using Clock = std::chrono::steady_clock;
    const auto began = Clock::now();
    connection.call(proto::PingRequest{}, [](const proto::PingAnswer&) {});
    if (round_trip_ns != nullptr)
      *round_trip_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds{Clock::now() - began}.count());
  });
}

int ps_daemon_describe(ps_daemon* daemon, const ps_daemon_info** info, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(info, f, "info");
    const auto& server = connection.server();
    auto found = std::make_unique<pageserver::c::DaemonInfoResult>(server.name);
    found->protocol_version = server.version;
    found->request_bytes_max = server.request_bytes_max;
    found->requests_in_flight_max = server.requests_in_flight_max;
    out = found.release();
  });
}

int ps_daemon_list(ps_daemon* daemon, const ps_stores** stores, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    auto& out = given(stores, f, "stores");
    out = std::make_unique<pageserver::c::StoresResult>(pageserver::client::list_stores(connection)).release();
  });
}

int ps_daemon_create(ps_daemon* daemon, const char* store, uint64_t pages, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    connection.call(proto::CreateRequest{checked_name(store, f), pages}, [](const proto::CreateAnswer&) {});
  });
}

int ps_daemon_remove(ps_daemon* daemon, const char* store, ps_error* error) {
  const char* const f = __func__;
  return with_connection(daemon, f, error, [&](auto& connection) {
    connection.call(proto::RemoveRequest{checked_name(store, f)}, [](const proto::RemoveAnswer&) {});
  });
}

int ps_daemon_break_lease(ps_daemon* daemon, const char* store, uint64_t epoch, const ps_holder** broken,
                          ps_error* error) {
  const char* const f = __func__;
  return guarded(error, [&] {
    const auto& target = given(daemon, f, "daemon").target;
    auto uri = target.uri;
    uri.store = checked_name(store, f);
    uri.access = pageserver::Access::read;  // the daemon answers to sessions of the store only
    auto options = pageserver::client::remote_options(std::move(uri));
    options.client_name = target.client_name;
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
