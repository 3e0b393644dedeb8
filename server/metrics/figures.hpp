// What a daemon counts beside its requests: each of it happens seldom, and on any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "server/metrics/durations.hpp"

namespace pageserver::server {

struct Figures {
  using Counter = std::atomic<std::uint64_t>;

  Counter connections_accepted{0};
  Counter refused_for_limit{0};
  Counter refused_timed_out{0};
  Counter refused_unread{0};
  Counter refused_protocol{0};
  Counter refused_permission{0};
  Counter refused_strangers{0};
  Counter auth_failed_right{0};  ///< no rule allows it
  Counter auth_failed_tls{0};
  Counter auth_failed_token{0};
  Counter rules_taken{0};
  Counter rules_failed{0};
  std::atomic<bool> rules_not_taken{false};
  Counter certificates_taken{0};
  Counter certificates_failed{0};
  std::atomic<bool> certificate_not_taken{false};
  std::atomic<std::int64_t> certificate_not_after{INT64_MAX};  ///< in seconds since 1970; the greatest: there is none
  Counter leases_broken{0};
  Counter leases_idle{0};
  Counter leases_kicked{0};
  Counter sessions_detached{0};  ///< how often one was
  Counter sessions_resumed{0};
  Counter sessions_expired{0};  ///< nobody came back for them
  Counter resumes_refused{0};
  Counter snapshots_given_up{0};
  Counter sync_failures{0};
  Counter checkpoint_failures{0};
  Counter recoveries{0};
  Counter recovery_records{0};
  Counter recovery_bytes{0};
  DurationCounter log_syncs;
  DurationCounter commits;
  DurationCounter checkpoints;
};

}  // namespace pageserver::server
