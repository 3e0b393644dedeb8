// Who makes way where all buffers together are too large: connections that keep much and stand still.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/connection/buffer_account.hpp"

namespace pageserver::server {

/// Threads: any. Moments are those of base::monotonic_ms().
class BufferRelief {
public:
  static constexpr std::int64_t interval_ms = 200;
  /// Who has stood still for less is let be.
  static constexpr std::int64_t patience_ms = 2000;

  struct Candidate {
    std::uint64_t of_peer = 0;  ///< bytes of all connections of its peer
    BufferAccount::Idle idle;
    std::uint64_t connection_id = 0;
  };

  /// Now and then: true for one thread at a time.
  bool is_due(std::int64_t now_ms) noexcept {
    std::int64_t last = last_ms_;
    return now_ms - last >= interval_ms && last_ms_.compare_exchange_strong(last, now_ms);
  }
  static bool stands_still(const BufferAccount::Idle& idle, std::int64_t now_ms) noexcept {
    return idle.bytes != 0 && now_ms - idle.since_ms >= patience_ms;
  }
  /// The peers that have most go first, and of each who stands still for longest: as many as keep an eighth of
  /// `bytes_max`, which there is for all.
  static std::vector<Candidate> chosen(std::vector<Candidate> candidates, std::uint64_t bytes_max) {
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& one, const Candidate& other) {
      if (one.of_peer != other.of_peer) return one.of_peer > other.of_peer;
      return one.idle.since_ms < other.idle.since_ms;
    });
    std::uint64_t freed = 0;
    std::size_t count = 0;
    for (; count < candidates.size() && freed < bytes_max / 8; ++count) freed += candidates[count].idle.bytes;
    candidates.resize(count);
    return candidates;
  }

private:
  std::atomic<std::int64_t> last_ms_{0};
};

}  // namespace pageserver::server
