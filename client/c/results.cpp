#include "client/c/results.hpp"

#include <utility>

#include "client/c/options.hpp"

namespace pageserver::c {
namespace {

std::vector<ps_range> copied(const std::vector<ByteRange>& ranges) {
  std::vector<ps_range> copy;
  copy.reserve(ranges.size());
  for (const auto& range : ranges) copy.push_back({range.offset, range.length});
  return copy;
}

}  // namespace

ps_image_version version_of(const Version& version) noexcept { return {version.incarnation, version.number}; }

RangesResult::RangesResult(std::uint64_t until, const std::vector<ByteRange>& found)
    : ps_ranges{}, kept_{copied(found)} {
  size = sizeof(ps_ranges);
  described_until = until;
  count = kept_.size();
  ranges = kept_.data();
}

RefreshedResult::RefreshedResult(const Refreshed& found) : ps_refreshed{}, kept_{copied(found.changed)} {
  size = sizeof(ps_refreshed);
  version = version_of(found.version);
  pages = found.pages;
  everything = found.everything ? 1 : 0;
  count = kept_.size();
  changed = kept_.data();
}

HolderResult::HolderResult(HolderStat found) : ps_holder{}, kept_{std::move(found)} {
  size = sizeof(ps_holder);
  name = kept_.name.c_str();
  address = kept_.address.c_str();
  since_unix_ms = kept_.since_unix_ms;
  idle_ms = kept_.idle_ms;
  epoch = kept_.epoch;
  access = access_of(kept_.access);
  view = view_of(kept_.view);
  publish = publish_of(kept_.publish);
  version_number = kept_.version_number;
}

RecoveryResult::RecoveryResult(Recovery found, bool with_warning) : ps_recovery{}, kept_{std::move(found)} {
  size = sizeof(ps_recovery);
  unix_ms = kept_.unix_ms;
  log_bytes = kept_.log_bytes;
  log_files = kept_.log_files;
  records = kept_.records;
  pages = kept_.pages;
  dropped_files = kept_.dropped_files;
  dropped_records = kept_.dropped_records;
  kept_count = kept_.kept_count;
  names_.reserve(kept_.kept_files.size());
  for (const std::string& name : kept_.kept_files) names_.push_back(name.c_str());
  count = names_.size();
  kept_files = names_.data();
  warned = with_warning ? 1 : 0;
  warning = kept_.warning.c_str();
}

StatResult::StatResult(Stat found) : ps_stat{}, kept_{std::move(found)} {
  size = sizeof(ps_stat);
  store = kept_.store.c_str();
  pages = kept_.pages;
  version = version_of(kept_.version);
  read_only = kept_.read_only ? 1 : 0;
  if (kept_.writer) writer = &kept_writer_.emplace(std::move(*kept_.writer));
  writers_waiting = kept_.writers_waiting;
  sessions_live = kept_.sessions_live;
  sessions_pinned = kept_.sessions_pinned;
  sessions_write = kept_.sessions_write;
  sessions_fork = kept_.sessions_fork;
  if (kept_.oldest_holder) oldest_holder = &kept_oldest_.emplace(std::move(*kept_.oldest_holder));
  size_bytes_max = kept_.size_bytes_max;
  log_bytes = kept_.log_bytes;
  checkpoint_lag_bytes = kept_.checkpoint_lag_bytes;
  held_bytes = kept_.held_bytes;
  fork_bytes = kept_.fork_bytes;
  last_sync_error = kept_.last_sync_error.c_str();
  image_warning = kept_.image_warning.c_str();
  if (kept_.load) load = &kept_load_.emplace(load_of(*kept_.load));
  if (kept_.home) {
    const HomeStat& at = *kept_.home;
    home =
        &kept_home_.emplace(ps_home{sizeof(ps_home), at.name.c_str(), at.holder.c_str(), at.health.c_str(), at.epoch});
  }
  if (!kept_.recovery) return;
  const bool has_warning = !kept_.recovery->warning.empty();
  recovery = &kept_recovery_.emplace(std::move(*kept_.recovery), has_warning);
}

ps_load load_of(const Load& found) noexcept {
  return {sizeof(ps_load),           found.connections,        found.directory_requests,
          found.disk_calls_waiting,  found.disk_calls_running, found.disk_threads_max,
          found.store_calls_waiting, found.store_calls_stuck,  found.stuck_ms};
}

static_assert(static_cast<int>(Right::read) == PS_RIGHT_READ && static_cast<int>(Right::fork) == PS_RIGHT_FORK);
static_assert(static_cast<int>(Right::write) == PS_RIGHT_WRITE && static_cast<int>(Right::create) == PS_RIGHT_CREATE);
static_assert(static_cast<int>(Right::remove) == PS_RIGHT_REMOVE && static_cast<int>(Right::admin) == PS_RIGHT_ADMIN);

IdentityResult::IdentityResult(WhoAmI found)
    : ps_identity{}, kept_{std::move(found)}, rights_text_{pageserver::rights_text(kept_.rights)} {
  size = sizeof(ps_identity);
  identity = kept_.identity.c_str();
  rights = kept_.rights;
  rights_text = rights_text_.c_str();
  why = kept_.why.c_str();
}

SessionResult::SessionResult(SessionReport found) : ps_session_report{}, kept_{std::move(found)} {
  size = sizeof(ps_session_report);
  state = static_cast<int>(kept_.state);
  waits_for = static_cast<int>(kept_.waits_for);
  access = access_of(kept_.access);
  view = view_of(kept_.view);
  publish = publish_of(kept_.publish);
  peer_known = kept_.peer_known ? 1 : 0;
  has_lease = kept_.has_lease ? 1 : 0;
  lost_lease = kept_.lost_lease ? 1 : 0;
  kicked = kept_.kicked ? 1 : 0;
  connection_id = kept_.connection_id;
  session_id = kept_.session_id;
  connected_ms = kept_.connected_ms;
  opened_ms = kept_.opened_ms;
  idle_ms = kept_.idle_ms;
  epoch = kept_.epoch;
  place_in_line = kept_.place_in_line;
  held_version = kept_.held_version;
  requests = kept_.requests;
  bytes_read = kept_.bytes_read;
  bytes_written = kept_.bytes_written;
  private_bytes = kept_.private_bytes;
  unsent_bytes = kept_.unsent_bytes;
  requests_in_flight = kept_.requests_in_flight;
  peer_uid = kept_.peer_uid;
  peer_pid = kept_.peer_pid;
  request_ms = kept_.request_ms;
  store = kept_.store.c_str();
  session_name = kept_.session_name.c_str();
  client_name = kept_.client_name.c_str();
  address = kept_.address.c_str();
}

SessionsResult::SessionsResult(std::vector<SessionReport> found) : ps_sessions{} {
  pointers_.reserve(found.size());
  for (auto& report : found) pointers_.push_back(&kept_.emplace_back(std::move(report)));
  size = sizeof(ps_sessions);
  count = pointers_.size();
  sessions = pointers_.data();
}

KickedResult::KickedResult(Kicked found) : ps_kicked{}, kept_{std::move(found.session)} {
  size = sizeof(ps_kicked);
  session = &kept_;
  released = found.released ? 1 : 0;
}

StoresResult::StoresResult(std::vector<ListedStore> found) : ps_stores{}, kept_{std::move(found)} {
  entries_.reserve(kept_.size());
  pointers_.reserve(kept_.size());
  for (const auto& entry : kept_) {
    const ps_recovery* recovery = nullptr;
    if (entry.recovery) recovery = &recoveries_.emplace_back(*entry.recovery, entry.recovery_warned);
    entries_.push_back(
        {sizeof(ps_store), entry.name.c_str(), entry.pages, entry.read_only ? 1 : 0, entry.open ? 1 : 0, recovery});
    pointers_.push_back(&entries_.back());
  }
  size = sizeof(ps_stores);
  count = pointers_.size();
  stores = pointers_.data();
}

DaemonInfoResult::DaemonInfoResult(std::string server_name) : ps_daemon_info{}, kept_{std::move(server_name)} {
  size = sizeof(ps_daemon_info);
  name = kept_.c_str();
}

}  // namespace pageserver::c

void ps_ranges_free(const ps_ranges* ranges) { delete static_cast<const pageserver::c::RangesResult*>(ranges); }
void ps_refreshed_free(const ps_refreshed* refreshed) {
  delete static_cast<const pageserver::c::RefreshedResult*>(refreshed);
}
void ps_holder_free(const ps_holder* holder) { delete static_cast<const pageserver::c::HolderResult*>(holder); }
void ps_stat_free(const ps_stat* stat) { delete static_cast<const pageserver::c::StatResult*>(stat); }
void ps_load_free(const ps_load* load) { delete static_cast<const pageserver::c::LoadResult*>(load); }
void ps_identity_free(const ps_identity* identity) {
  delete static_cast<const pageserver::c::IdentityResult*>(identity);
}
void ps_sessions_free(const ps_sessions* sessions) {
  delete static_cast<const pageserver::c::SessionsResult*>(sessions);
}
void ps_kicked_free(const ps_kicked* kicked) { delete static_cast<const pageserver::c::KickedResult*>(kicked); }
void ps_stores_free(const ps_stores* stores) { delete static_cast<const pageserver::c::StoresResult*>(stores); }
void ps_daemon_info_free(const ps_daemon_info* info) {
  delete static_cast<const pageserver::c::DaemonInfoResult*>(info);
}
