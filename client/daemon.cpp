#include <pageserver/daemon.hpp>

#include "client/uri/uri.hpp"
#include "client/wire/daemon_connection.hpp"

namespace pageserver {

class Daemon::Impl : public client::DaemonConnection {
public:
  explicit Impl(const client::Uri& uri)
      : DaemonConnection{uri.endpoint,
                         {uri.connect_timeout, uri.request_timeout, uri.poll_us, {}, uri.token_file, {}}} {}
};

Daemon::Daemon(std::string_view uri)
    : impl_{std::make_unique<Impl>(client::parse_uri(uri, Access::read, client::UriTarget::server))} {}
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon& Daemon::operator=(Daemon&&) noexcept = default;
Daemon::~Daemon() = default;

Daemon::Impl& Daemon::impl() const {
  if (impl_) return *impl_;
  throw MemoryError{Errc::invalid_argument, "use of a Daemon that was moved from; use the one it moved to"};
}

const DaemonInfo& Daemon::info() const { return impl().info(); }
std::chrono::nanoseconds Daemon::ping() { return impl().ping(); }
std::vector<ListedStore> Daemon::list() { return impl().list(); }
void Daemon::create(std::string_view store, std::uint64_t pages) { impl().create(store, pages); }
void Daemon::remove(std::string_view store) { impl().remove(store); }
std::vector<SessionReport> Daemon::sessions(std::string_view store) { return impl().sessions(store); }
Load Daemon::load(std::string_view store) { return impl().load(store); }

WhoAmI Daemon::whoami(std::string_view store) { return impl().whoami(store); }

Kicked Daemon::kick(std::uint64_t session_id, std::string_view reason) {
  return impl().kick(proto::KickWhat::session, session_id, reason);
}

Kicked Daemon::kick_connection(std::uint64_t connection_id, std::string_view reason) {
  return impl().kick(proto::KickWhat::connection, connection_id, reason);
}

}  // namespace pageserver
