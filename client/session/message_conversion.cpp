#include "client/session/message_conversion.hpp"

namespace pageserver::client {

HolderStat from_proto(const proto::Holder& holder) {
  HolderStat stat;
  stat.name = holder.name;
  stat.address = holder.address;
  stat.since_unix_ms = holder.since_unix_ms;
  stat.idle_ms = holder.idle_ms;
  stat.epoch = holder.epoch;
  stat.access = static_cast<Access>(holder.access);
  stat.view = static_cast<View>(holder.view);
  stat.publish = static_cast<Publish>(holder.publish);
  stat.version_number = holder.version_number;
  return stat;
}

Refreshed from_proto(const proto::RefreshAnswer& answer) {
  Refreshed refreshed;
  refreshed.version = from_proto(answer.version);
  refreshed.pages = answer.pages;
  refreshed.everything = answer.everything;
  for (const auto& range : answer.changed) refreshed.changed.push_back({range.offset, range.length});
  return refreshed;
}

Stat from_proto(const proto::StatAnswer& answer) {
  Stat stat;
  stat.store = answer.store;
  stat.pages = answer.pages;
  stat.version = from_proto(answer.version);
  stat.read_only = answer.read_only;
  if (answer.writer) stat.writer = from_proto(*answer.writer);
  stat.writers_waiting = answer.writers_waiting;
  stat.sessions_live = answer.sessions_live;
  stat.sessions_pinned = answer.sessions_pinned;
  stat.sessions_write = answer.sessions_write;
  stat.sessions_fork = answer.sessions_fork;
  if (answer.oldest_holder) stat.oldest_holder = from_proto(*answer.oldest_holder);
  stat.size_bytes_max = answer.size_bytes_max;
  stat.log_bytes = answer.log_bytes;
  stat.checkpoint_lag_bytes = answer.checkpoint_lag_bytes;
  stat.held_bytes = answer.held_bytes;
  stat.fork_bytes = answer.fork_bytes;
  stat.last_sync_error = answer.last_sync_error;
  stat.image_warning = answer.image_warning;
  return stat;
}

}  // namespace pageserver::client
