// Pins and forks: who keeps which old version from being given up.
//
//   versions   ... 5 ------ 6 ------ 7 ------ 8 (newest)
//                  ^                 ^
//                  pin, fork         pin               a checkpoint may copy up to 5, the version of the oldest one
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "storage/engine/log_point.hpp"
#include "storage/engine/session_state.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class Holders {
public:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  ///< the held version, and the session's id
  using Sessions = std::map<Key, SessionRef>;
  using Entry = Sessions::node_type;  ///< the memory that a holder takes: made ahead, where making it may fail

  static Key key_of(const SessionState& state) noexcept { return {state.held.version, state.id}; }
  static Entry make_entry(const SessionRef& state);

  bool empty() const noexcept { return sessions_.empty(); }
  /// Null: there is none.
  const SessionState* oldest() const noexcept { return empty() ? nullptr : sessions_.begin()->second.get(); }
  /// Whether somebody holds a version v with `from <= v < until`.
  bool any_within(std::uint64_t from, std::uint64_t until) const noexcept;

  /// From now on `state` holds the version of `point`, which has this many pages. `entry` may come from any holder.
  void add(SessionState& state, Entry entry, const LogPoint& point, std::uint64_t pages) noexcept;
  void remove(const SessionState& state) noexcept { sessions_.erase(key_of(state)); }
  Entry take(const SessionState& state) noexcept { return sessions_.extract(key_of(state)); }
  /// Takes the version from `state`, which holds one, and moves that to `given_up`.
  void give_up(SessionState& state, Sessions& given_up) noexcept;
  /// Takes the version from the oldest holder, which must exist, and moves that to `given_up`.
  void give_up_oldest(SessionState::GivenUpFor why, Sessions& given_up) noexcept;

private:
  Sessions sessions_;
};

}  // namespace pageserver::storage
