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
}

StoresResult::StoresResult(std::vector<client::ListedStore> found) : ps_stores{}, kept_{std::move(found)} {
  entries_.reserve(kept_.size());
  pointers_.reserve(kept_.size());
  for (const auto& entry : kept_) {
    entries_.push_back(
        {sizeof(ps_store), entry.name.c_str(), entry.pages, entry.read_only ? 1 : 0, entry.open ? 1 : 0});
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
void ps_stores_free(const ps_stores* stores) { delete static_cast<const pageserver::c::StoresResult*>(stores); }
void ps_daemon_info_free(const ps_daemon_info* info) {
  delete static_cast<const pageserver::c::DaemonInfoResult*>(info);
}
