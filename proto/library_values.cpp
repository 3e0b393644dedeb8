#include "proto/library_values.hpp"

#include <array>
#include <optional>
#include <tuple>

namespace pageserver::proto {
namespace {

/// Two members that hold the same.
template <class Wire, class WireValue, class Library, class LibraryValue>
struct Field {
  WireValue Wire::*wire;
  LibraryValue Library::*library;
};
template <class Wire, class WireValue, class Library, class LibraryValue>
Field(WireValue Wire::*, LibraryValue Library::*) -> Field<Wire, WireValue, Library, LibraryValue>;

constexpr std::tuple holder_fields{
    Field{&Holder::name, &HolderStat::name},
    Field{&Holder::address, &HolderStat::address},
    Field{&Holder::since_unix_ms, &HolderStat::since_unix_ms},
    Field{&Holder::idle_ms, &HolderStat::idle_ms},
    Field{&Holder::epoch, &HolderStat::epoch},
    Field{&Holder::access, &HolderStat::access},
    Field{&Holder::view, &HolderStat::view},
    Field{&Holder::publish, &HolderStat::publish},
    Field{&Holder::version_number, &HolderStat::version_number},
};

constexpr std::tuple home_fields{
    Field{&Home::name, &HomeStat::name},
    Field{&Home::holder, &HomeStat::holder},
    Field{&Home::health, &HomeStat::health},
    Field{&Home::epoch, &HomeStat::epoch},
};

using WireRecovery = proto::Recovery;
constexpr std::tuple recovery_fields{
    Field{&WireRecovery::unix_ms, &pageserver::Recovery::unix_ms},
    Field{&WireRecovery::log_bytes, &pageserver::Recovery::log_bytes},
    Field{&WireRecovery::log_files, &pageserver::Recovery::log_files},
    Field{&WireRecovery::records, &pageserver::Recovery::records},
    Field{&WireRecovery::pages, &pageserver::Recovery::pages},
    Field{&WireRecovery::dropped_files, &pageserver::Recovery::dropped_files},
    Field{&WireRecovery::dropped_records, &pageserver::Recovery::dropped_records},
    Field{&WireRecovery::kept_count, &pageserver::Recovery::kept_count},
    Field{&WireRecovery::kept_files, &pageserver::Recovery::kept_files},
    Field{&WireRecovery::warning, &pageserver::Recovery::warning},
};

constexpr std::tuple stat_fields{
    Field{&StatAnswer::store, &Stat::store},
    Field{&StatAnswer::pages, &Stat::pages},
    Field{&StatAnswer::version, &Stat::version},
    Field{&StatAnswer::read_only, &Stat::read_only},
    Field{&StatAnswer::writer, &Stat::writer},
    Field{&StatAnswer::writers_waiting, &Stat::writers_waiting},
    Field{&StatAnswer::sessions_live, &Stat::sessions_live},
    Field{&StatAnswer::sessions_pinned, &Stat::sessions_pinned},
    Field{&StatAnswer::sessions_write, &Stat::sessions_write},
    Field{&StatAnswer::sessions_fork, &Stat::sessions_fork},
    Field{&StatAnswer::oldest_holder, &Stat::oldest_holder},
    Field{&StatAnswer::size_bytes_max, &Stat::size_bytes_max},
    Field{&StatAnswer::log_bytes, &Stat::log_bytes},
    Field{&StatAnswer::checkpoint_lag_bytes, &Stat::checkpoint_lag_bytes},
    Field{&StatAnswer::held_bytes, &Stat::held_bytes},
    Field{&StatAnswer::fork_bytes, &Stat::fork_bytes},
    Field{&StatAnswer::last_sync_error, &Stat::last_sync_error},
    Field{&StatAnswer::image_warning, &Stat::image_warning},
    Field{&StatAnswer::recovery, &Stat::recovery},
    Field{&StatAnswer::load, &Stat::load},
    Field{&StatAnswer::home, &Stat::home},
};

constexpr std::tuple session_fields{
    Field{&SessionEntry::state, &SessionReport::state},
    Field{&SessionEntry::waits_for, &SessionReport::waits_for},
    Field{&SessionEntry::access, &SessionReport::access},
    Field{&SessionEntry::view, &SessionReport::view},
    Field{&SessionEntry::publish, &SessionReport::publish},
    Field{&SessionEntry::peer_known, &SessionReport::peer_known},
    Field{&SessionEntry::has_lease, &SessionReport::has_lease},
    Field{&SessionEntry::lost_lease, &SessionReport::lost_lease},
    Field{&SessionEntry::kicked, &SessionReport::kicked},
    Field{&SessionEntry::ring, &SessionReport::ring},
    Field{&SessionEntry::connection_id, &SessionReport::connection_id},
    Field{&SessionEntry::session_id, &SessionReport::session_id},
    Field{&SessionEntry::connected_ms, &SessionReport::connected_ms},
    Field{&SessionEntry::opened_ms, &SessionReport::opened_ms},
    Field{&SessionEntry::idle_ms, &SessionReport::idle_ms},
    Field{&SessionEntry::epoch, &SessionReport::epoch},
    Field{&SessionEntry::place_in_line, &SessionReport::place_in_line},
    Field{&SessionEntry::held_version, &SessionReport::held_version},
    Field{&SessionEntry::requests, &SessionReport::requests},
    Field{&SessionEntry::bytes_read, &SessionReport::bytes_read},
    Field{&SessionEntry::bytes_written, &SessionReport::bytes_written},
    Field{&SessionEntry::private_bytes, &SessionReport::private_bytes},
    Field{&SessionEntry::unsent_bytes, &SessionReport::unsent_bytes},
    Field{&SessionEntry::requests_in_flight, &SessionReport::requests_in_flight},
    Field{&SessionEntry::peer_uid, &SessionReport::peer_uid},
    Field{&SessionEntry::peer_pid, &SessionReport::peer_pid},
    Field{&SessionEntry::request_ms, &SessionReport::request_ms},
    Field{&SessionEntry::store, &SessionReport::store},
    Field{&SessionEntry::session_name, &SessionReport::session_name},
    Field{&SessionEntry::client_name, &SessionReport::client_name},
    Field{&SessionEntry::address, &SessionReport::address},
};

template <class Value>
void assign(Value& to, const Value& from) {
  to = from;
}
void assign(std::string_view& to, const std::string& from) { to = from; }
void assign(std::string& to, const std::string_view& from) { to = from; }
void assign(std::optional<Holder>& to, const std::optional<HolderStat>& from) {
  if (from) to = to_wire(*from);
}
void assign(std::optional<HolderStat>& to, const std::optional<Holder>& from) {
  if (from) to = from_wire(*from);
}

void assign(std::vector<std::string_view>& to, const std::vector<std::string>& from) {
  to.assign(from.begin(), from.end());
}
void assign(std::vector<std::string>& to, const std::vector<std::string_view>& from) {
  to.assign(from.begin(), from.end());
}
void assign(std::optional<WireRecovery>& to, const std::optional<pageserver::Recovery>& from) {
  if (from) to = to_wire(*from);
}
void assign(std::optional<pageserver::Recovery>& to, const std::optional<WireRecovery>& from) {
  if (from) to = from_wire(*from);
}

void assign(std::optional<Home>& to, const std::optional<HomeStat>& from);
void assign(std::optional<HomeStat>& to, const std::optional<Home>& from);

template <class Wire, class Library, class Fields>
Wire wire_of(const Library& from, const Fields& fields) {
  Wire to;
  std::apply([&](const auto&... field) { (assign(to.*field.wire, from.*field.library), ...); }, fields);
  return to;
}

template <class Library, class Wire, class Fields>
Library library_of(const Wire& from, const Fields& fields) {
  Library to;
  std::apply([&](const auto&... field) { (assign(to.*field.library, from.*field.wire), ...); }, fields);
  return to;
}

void assign(std::optional<Home>& to, const std::optional<HomeStat>& from) {
  if (from) to = wire_of<Home>(*from, home_fields);
}
void assign(std::optional<HomeStat>& to, const std::optional<Home>& from) {
  if (from) to = library_of<HomeStat>(*from, home_fields);
}

struct Code {
  Errc errc;
  Status status;
};
constexpr std::array codes{
    Code{Errc::out_of_bounds, Status::out_of_bounds},
    Code{Errc::provider_error, Status::provider_error},
    Code{Errc::busy, Status::busy},
    Code{Errc::lease_lost, Status::lease_lost},
    Code{Errc::read_only, Status::read_only},
    Code{Errc::snapshot_too_old, Status::snapshot_too_old},
    Code{Errc::no_space, Status::no_space},
    Code{Errc::limit_exceeded, Status::limit_exceeded},
    Code{Errc::not_found, Status::not_found},
    Code{Errc::already_exists, Status::already_exists},
    Code{Errc::protocol_error, Status::protocol_error},
    Code{Errc::timed_out, Status::timed_out},
    Code{Errc::unsupported, Status::unsupported},
    Code{Errc::invalid_argument, Status::invalid_argument},
    Code{Errc::permission_denied, Status::permission_denied},
    Code{Errc::damaged, Status::damaged},
};

}  // namespace

Holder to_wire(const HolderStat& holder) { return wire_of<Holder>(holder, holder_fields); }
Recovery to_wire(const pageserver::Recovery& recovery) { return wire_of<Recovery>(recovery, recovery_fields); }
StatAnswer to_wire(const Stat& stat) { return wire_of<StatAnswer>(stat, stat_fields); }
HolderStat from_wire(const Holder& holder) { return library_of<HolderStat>(holder, holder_fields); }
pageserver::Recovery from_wire(const Recovery& recovery) {
  return library_of<pageserver::Recovery>(recovery, recovery_fields);
}
SessionReport from_wire(const SessionEntry& entry) { return library_of<SessionReport>(entry, session_fields); }
Stat from_wire(const StatAnswer& answer) { return library_of<Stat>(answer, stat_fields); }

Status status_of(Errc code) noexcept {
  for (const auto& pair : codes)
    if (pair.errc == code) return pair.status;
  return Status::provider_error;
}

Errc errc_of(Status status) noexcept {
  switch (status) {
    case Status::stopping:
    case Status::kicked:
    case Status::token_unknown:
    case Status::token_expired:
    case Status::token_foreign:
    case Status::identity_differs: return Errc::connection_lost;
    case Status::request_differs:
    case Status::outside_window: return Errc::protocol_error;
    case Status::served_elsewhere: return Errc::busy;
    default: break;
  }
  for (const auto& pair : codes)
    if (pair.status == status) return pair.errc;
  return Errc::provider_error;
}

}  // namespace pageserver::proto
