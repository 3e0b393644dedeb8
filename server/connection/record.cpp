#include "server/connection/record.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/store.hpp"

namespace pageserver::server {

namespace {

using proto::SessionState;
using proto::WaitsFor;

/// A call that takes longer is likely to be stuck; shorter ones are what requests cost.
constexpr std::uint64_t stuck_ms_min = 20;

std::uint64_t since(std::int64_t now_ms, std::uint64_t then_ms) noexcept {
  const auto now = static_cast<std::uint64_t>(now_ms);
  return now > then_ms ? now - then_ms : 0;
}

template <class Small>
Small capped(std::uint64_t value) noexcept {
  return static_cast<Small>(std::min<std::uint64_t>(value, std::numeric_limits<Small>::max()));
}

}  // namespace

void ConnectionRecord::greeted(std::string client_name) {
  {
    const Lock lock{mutex_};
    client_name_.swap(client_name);
  }
  state.set(SessionState::front);
}

void ConnectionRecord::opening(std::uint64_t id, const std::string& store, const std::string& name, Access access,
                               View view, Publish publish, std::int64_t now_ms) {
  std::string own_store = store;
  std::string own_name = name;
  {
    const Lock lock{mutex_};
    store_.swap(own_store);
    session_name_.swap(own_name);
    access_ = access;
    view_ = view;
    publish_ = publish;
  }
  session_id.set(id);
  opened_ms.set(now_ms);
  state.set(SessionState::opening);
}

void ConnectionRecord::opened(storage::StoreSession& session, std::int64_t now_ms) noexcept {
  {
    const Lock lock{mutex_};
    session_ = &session;
    const bool holds = access_ == Access::fork || view_ == View::pinned;
    held_version.set(holds ? session.opened().version.number : std::uint64_t{0});
  }
  epoch.set(session.epoch());
  place.set(std::uint64_t{0});
  opened_ms.set(now_ms);
  state.set(SessionState::session);
}

void ConnectionRecord::detached() noexcept {
  state.set(SessionState::detached);
  unsent_bytes.set(std::uint64_t{0});
  in_hand.set(std::uint64_t{0});
}

void ConnectionRecord::resumed(std::string address, std::string client_name) noexcept {
  {
    const Lock lock{mutex_};
    address_.swap(address);
    client_name_.swap(client_name);
  }
  state.set(SessionState::session);
}

void ConnectionRecord::left(SessionState now) noexcept {
  {
    const Lock lock{mutex_};
    session_ = nullptr;
  }
  state.set(now);
  place.set(std::uint64_t{0});
  epoch.set(std::uint64_t{0});
  held_version.set(std::uint64_t{0});
  private_bytes.set(std::uint64_t{0});
  if (now != SessionState::front) return;
  const Lock lock{mutex_};
  session_id.set(std::uint64_t{0});
  opened_ms.set(std::uint64_t{0});
  store_.clear();
  session_name_.clear();
}

// The lock keeps the session there meanwhile. None of what it calls asks for this record.
void ConnectionRecord::revoke(const std::string& reason) {
  const Lock lock{mutex_};
  if (session_ != nullptr) session_->revoke(reason);
}

std::optional<Access> ConnectionRecord::session_access() const {
  const auto now = static_cast<SessionState>(state.get());
  if (now != SessionState::session && now != SessionState::detached) return std::nullopt;
  const Lock lock{mutex_};
  return access_;
}

std::pair<Access, View> ConnectionRecord::last_kind() const {
  const Lock lock{mutex_};
  return {access_, view_};
}

bool ConnectionRecord::is_on(std::string_view store) const {
  const Lock lock{mutex_};
  return store_ == store;
}

bool ConnectionRecord::is_over(bool session) const {
  const Lock lock{mutex_};
  const bool leaves = static_cast<SessionState>(state.get()) == SessionState::leaving;
  return leaves && session_ == nullptr && (session || kicked);
}

DescribedConnection ConnectionRecord::describe(std::int64_t now_ms) const {
  DescribedConnection described;
  proto::SessionEntry& entry = described.entry;
  {
    const Lock lock{mutex_};
    described.store = store_;
    described.session_name = session_name_;
    described.client_name = client_name_;
    described.address = address_;
    entry.access = access_;
    entry.view = view_;
    entry.publish = publish_;
  }
  described.place = place;
  entry.state = static_cast<SessionState>(state.get());
  if (entry.state == SessionState::opening && described.place != 0) entry.state = SessionState::in_line;
  entry.peer_known = peer_.known;
  entry.peer_uid = peer_.uid;
  entry.peer_pid = peer_.pid;
  entry.connection_id = connection_id_;
  entry.session_id = session_id;
  entry.connected_ms = since(now_ms, static_cast<std::uint64_t>(connected_ms_));
  entry.opened_ms = entry.session_id == 0 ? 0 : since(now_ms, opened_ms);
  entry.epoch = epoch;
  entry.has_lease = entry.epoch != 0 && !lease_lost;
  entry.lost_lease = entry.epoch != 0 && lease_lost;
  entry.kicked = kicked;
  entry.ring = ring;
  entry.held_version = held_version;
  entry.requests = counters.requests;
  entry.bytes_read = counters.bytes_read;
  entry.bytes_written = counters.bytes_written;
  entry.private_bytes = private_bytes;
  entry.unsent_bytes = unsent_bytes;
  const std::uint64_t in_hand_now = in_hand;
  entry.requests_in_flight = capped<std::uint32_t>(std::max<std::uint64_t>(in_flight, in_hand_now));
  const std::uint64_t quiet_ms = since(now_ms, last_request_ms);
  entry.idle_ms = entry.requests_in_flight == 0 ? quiet_ms : 0;
  entry.request_ms = entry.requests_in_flight == 0 ? 0 : capped<std::uint32_t>(quiet_ms);
  switch (static_cast<Pending::What>(pending.get())) {
    case Pending::What::admin: entry.waits_for = WaitsFor::directory; break;
    case Pending::What::session: entry.waits_for = described.place != 0 ? WaitsFor::lease : WaitsFor::store; break;
    case Pending::What::flush: entry.waits_for = WaitsFor::flush; break;
    case Pending::What::room: entry.waits_for = WaitsFor::room; break;
    case Pending::What::nothing:
    case Pending::What::kick:
    case Pending::What::refusal:
    case Pending::What::fault:
    case Pending::What::drip:
    case Pending::What::acknowledgement: break;
  }
  if (in_hand_now != 0 && quiet_ms >= stuck_ms_min) entry.waits_for = WaitsFor::disk;
  if (waits_for_turn) entry.waits_for = WaitsFor::turn;
  return described;
}

}  // namespace pageserver::server
