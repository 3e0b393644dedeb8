// Counts the sessions of a store by their kind, for reports.
#pragma once

#include <cstdint>

#include "storage/store.hpp"

namespace pageserver::storage {

/// Not thread-safe.
class SessionCounts {
public:
  void add(const SessionRequest& request) noexcept { ++of(request); }
  void remove(const SessionRequest& request) noexcept { --of(request); }

  std::uint64_t all() const noexcept { return live_ + pinned_ + write_ + fork_; }
  void report(Stat& stat) const noexcept {
    stat.sessions_live = live_;
    stat.sessions_pinned = pinned_;
    stat.sessions_write = write_;
    stat.sessions_fork = fork_;
  }

private:
  std::uint64_t& of(const SessionRequest& request) noexcept {
    if (request.access == Access::write) return write_;
    if (request.access == Access::fork) return fork_;
    return request.view == View::pinned ? pinned_ : live_;
  }

  std::uint64_t live_ = 0;
  std::uint64_t pinned_ = 0;
  std::uint64_t write_ = 0;
  std::uint64_t fork_ = 0;
};

}  // namespace pageserver::storage
