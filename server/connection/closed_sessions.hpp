// The last sessions that ended, and why: for people who look for one that they miss.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <pageserver/session.hpp>

#include "base/mutex.hpp"

namespace pageserver::server {

struct ClosedSession {
  std::uint64_t id = 0;
  std::string store, name, address, reason;
  Access access = Access::read;
  View view = View::live;
  std::uint64_t requests = 0, bytes_read = 0, bytes_written = 0;
  std::uint64_t lasted_ms = 0;
  std::int64_t ended_ms = 0;  ///< by base::monotonic_ms()
};

/// Thread-safe.
class ClosedSessions {
public:
  static constexpr std::size_t kept = 100;

  void add(ClosedSession session) {
    const Lock lock{mutex_};
    sessions_.push_front(std::move(session));
    if (sessions_.size() > kept) sessions_.pop_back();
  }
  /// The one that ended last first, at most `count`.
  std::vector<ClosedSession> last(std::size_t count) const {
    const Lock lock{mutex_};
    return {sessions_.begin(), sessions_.begin() + static_cast<std::ptrdiff_t>(std::min(count, sessions_.size()))};
  }

private:
  mutable Mutex mutex_;
  std::deque<ClosedSession> sessions_ PAGESERVER_GUARDED_BY(mutex_);
};

}  // namespace pageserver::server
