#include "client/session/session_opening.hpp"

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>

#include "client/session/known_image.hpp"
#include "client/uri/uri_text.hpp"
#include "client/wire/error_text.hpp"
#include "client/wire/reconnecting.hpp"

namespace pageserver::client {
namespace {

constexpr std::chrono::seconds close_timeout{1};
constexpr std::chrono::milliseconds pause_between_opens{5};

/// The name that the daemon shows to others, for a program that gave none.
std::string own_name() {
  const std::string pid = "pid " + std::to_string(::getpid());
  const std::string named = std::string{program_invocation_short_name} + " " + pid;
  return is_session_name(named) ? named : pid;
}

}  // namespace

Endpoint endpoint_of(const RemoteOptions& options) {
  Endpoint endpoint{options.host,    options.port,    options.socket_path,
                    options.tls,     options.tls_ca,  options.tls_certificate,
                    options.tls_key, options.tls_name};
  for (const RemoteHost& other : options.other_hosts) endpoint.others.push_back({other.host, other.port});
  return endpoint;
}

RemoteOptions checked(RemoteOptions options) {
  const auto refuse = [&](const std::string& message) {
    throw MemoryError{Errc::invalid_argument, error_text(endpoint_of(options).uri(), "open", message)};
  };
  if (options.host.empty() == options.socket_path.empty())
    refuse("RemoteOptions needs a host or a socket_path, and not both");
  const bool nameless = std::any_of(options.other_hosts.begin(), options.other_hosts.end(),
                                    [](const RemoteHost& other) { return other.host.empty(); });
  if (nameless || (options.host.empty() && !options.other_hosts.empty()))
    refuse("other_hosts go with a host, and none of them is empty");
  if (options.tls && options.host.empty()) refuse("TLS is for a host, and not for a Unix socket");
  if (!options.tls && !(options.tls_ca + options.tls_certificate + options.tls_key + options.tls_name).empty())
    refuse("tls_ca, tls_certificate, tls_key and tls_name need tls");
  if (options.tls_certificate.empty() != options.tls_key.empty()) refuse("tls_certificate and tls_key go together");
  if (!proto::is_store_name(options.store)) refuse(no_store_name(options.store));
  if (options.name.empty()) options.name = own_name();
  if (!is_session_name(options.name))
    refuse("the session's name is not at most 255 bytes of UTF-8 without control characters");
  if (options.poll_us && *options.poll_us > base::poll_us_max)
    refuse("poll_us=" + std::to_string(*options.poll_us) + " exceeds " + std::to_string(base::poll_us_max));
  const auto check_time = [&](std::string_view name, std::chrono::milliseconds& time) {
    if (time.count() < 0)
      refuse(std::string{name} + "=" + std::to_string(time.count()) + "ms is below zero; 0 means without a limit");
    if (time.count() == 0) time = std::chrono::milliseconds::max();
  };
  check_time("connect_timeout", options.connect_timeout);
  check_time("request_timeout", options.request_timeout);
  if (options.view == View::pinned && options.access != Access::read) refuse("view=pinned is for access=read only");
  if (options.publish == Publish::on_flush && options.access != Access::write)
    refuse("publish=on_flush is for access=write only");
  return options;
}

ConnectionOptions connection_options(const RemoteOptions& options) {
  return {options.connect_timeout,    options.request_timeout, options.poll_us,
          options.client_name,        options.token_file,      options.token,
          options.resume.count() > 0, options.shared_memory};
}

namespace {

OpenedSession open_once(Connection& connection, const RemoteOptions& options, Deadline deadline) {
  proto::OpenRequest message;
  message.access = options.access;
  message.view = options.view;
  message.publish = options.publish;
  message.wait_ms = options.access == Access::write ? options.wait_ms : 0;
  message.store = options.store;
  message.session_name = options.name;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  OpenedSession opened;
  std::optional<proto::ResumeTicket> ticket;
  connection.call(
      message,
      [&](const proto::OpenAnswer& answer) {
        if (const auto fault = check_pages("open answer", answer.pages))
          throw MemoryError{Errc::protocol_error, error_text(connection.context(), "open", fault->message)};
        opened = {answer.pages, answer.size_bytes_max, answer.version};
        ticket = answer.resume;
      },
      std::max(left, std::chrono::milliseconds{1}));
  if (options.resume.count() > 0) {
    if (!ticket)
      throw MemoryError{Errc::unsupported,
                        error_text(connection.context(), "open",
                                   "the daemon keeps no session whose connection is lost: it is an older one, or has "
                                   "resume_linger=0; leave out resume=" +
                                       std::to_string(options.resume.count()))};
    connection.begin_resumable(
        {ticket->token, options.store, options.access, options.view, options.publish,
         options.access == Access::write && (connection.server().features & proto::feature_restart) != 0,
         options.resume});
    // The daemon keeps nothing for a client that may not have the token.
    connection.call(proto::PingRequest{}, [](const proto::PingAnswer&) {});
  }
  return opened;
}

}  // namespace

namespace {

// With `resume`, a connection that is lost before the session is there is made again: nothing was done over it.
OpenedSession open_where_connected(Connection& connection, const RemoteOptions& options) {
  const auto deadline = deadline_after(deadline_after(connection.opened_at(), options.connect_timeout),
                                       std::chrono::milliseconds{options.wait_ms});
  const auto last = std::max(deadline, deadline_after(connection.opened_at(), options.resume));
  OpenedSession opened;
  for (bool is_first = true;;) {
    try {
      opened = open_once(connection, options, is_first ? deadline : last);
      break;
    } catch (const MemoryError& error) {
      const bool lost = error.errc() == Errc::connection_lost && connection.ended() != nullptr;
      // The daemon may not know yet that the connection before is lost, which has the lease then.
      const bool met_itself =
          !is_first && error.errc() == Errc::busy && connection.open_refusal() != proto::Status::served_elsewhere;
      const bool again = options.resume.count() > 0 && (lost || met_itself) && !connection.is_forked();
      if (!again || Clock::now() + pause_between_opens >= last) throw;
    }
    is_first = false;
    if (connection.ended() != nullptr) connection.connect_again(last);
    std::this_thread::sleep_for(pause_between_opens);
  }
  return opened;
}

/// The first of several hosts that serves the store.
OpenedSession open_where_served(Connection& connection, const RemoteOptions& options) {
  constexpr std::chrono::milliseconds pause_max{200};
  const auto deadline = deadline_after(connection.opened_at(), options.connect_timeout);
  std::string tried = connection.skipped();
  std::size_t asked = 0;
  bool is_served = false;  // by one of them, or will be
  for (auto pause = 2 * pause_between_opens;;) {
    std::optional<Errc> failure;
    try {
      return open_where_connected(connection, options);
    } catch (const MemoryError& error) {
      const bool lost = connection.ended() != nullptr;
      const auto refusal = lost ? proto::Status::stopping : connection.open_refusal();
      const bool elsewhere = refusal == proto::Status::served_elsewhere || refusal == proto::Status::stopping;
      if (connection.is_forked() || (!elsewhere && refusal != proto::Status::not_found)) throw;
      is_served = is_served || elsewhere;
      tried += (tried.empty() ? "" : "; ") + std::string{error.what()};
      failure = error.errc();
    }
    if (++asked >= connection.hosts()) {
      if (!is_served || Clock::now() + pause >= deadline)
        throw MemoryError{*failure, "none of the hosts serves the store: " + tried +
                                        (is_served ? "; see connect_timeout in the URI" : "")};
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::milliseconds>(2 * pause, pause_max);
      asked = 0;
      is_served = false;
      tried.clear();
    }
    connection.connect_to_next(deadline);
    if (!connection.skipped().empty()) tried += (tried.empty() ? "" : "; ") + connection.skipped();
  }
}

}  // namespace

OpenedSession open_session_on(Connection& connection, const RemoteOptions& options) {
  connection.name_store(options.store);
  const OpenedSession opened =
      connection.hosts() == 1 ? open_where_connected(connection, options) : open_where_served(connection, options);
  if (!options.faults.empty()) {
    const proto::FaultsRequest order{proto::FaultsWhat::add, proto::FaultsScope::session, options.faults};
    check_faults_request(connection, order);
    connection.call(order, [](const proto::FaultsAnswer&) {});
  }
  return opened;
}

void check_faults_request(const Connection& connection, const proto::FaultsRequest& message) {
  if ((connection.server().features & proto::feature_faults) == 0)
    throw MemoryError{Errc::unsupported, error_text(connection.context(), "faults",
                                                    "the daemon takes no orders of faults: start it with "
                                                    "--allow-faults, for tests only, or leave them out")};
  if (message.orders.size() > proto::fault_orders_bytes_max)
    throw MemoryError{Errc::limit_exceeded,
                      error_text(connection.context(), "faults",
                                 "the orders have " + std::to_string(message.orders.size()) + " bytes, at most " +
                                     std::to_string(proto::fault_orders_bytes_max) + "; order them in parts")};
}

void close_session_on(Connection& connection) noexcept {
  try {
    if (connection.ended()) return;
    bool done = false;
    connection.submit(proto::CloseRequest{}, [&done](const auto&) { done = true; });
    connection.run_until([&done] { return done; }, Clock::now() + close_timeout);
  } catch (...) {
    // The daemon releases the session when the connection ends, which it does now in any case.
  }
}

}  // namespace pageserver::client
