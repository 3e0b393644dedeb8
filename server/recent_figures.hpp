// What happened in the last minutes: the counters as they were every few seconds, so that their growth can be told and
// drawn. On the metrics listener's loop.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "server/metrics/durations.hpp"
#include "server/metrics/request_figures.hpp"
#include "server/metrics_report.hpp"
#include "server/runtime/worker.hpp"

namespace pageserver::server {

class RecentFigures {
public:
  static constexpr std::chrono::milliseconds interval{5000};
  /// Five minutes.
  static constexpr std::size_t intervals_max = 60;

  /// `worker` outlives it.
  RecentFigures(Worker& worker, const ReportSources& sources);
  RecentFigures(const RecentFigures&) = delete;
  RecentFigures& operator=(const RecentFigures&) = delete;
  /// Once the worker has ended, or on it.
  ~RecentFigures();

  /// Before the worker starts.
  void start();

  // On the worker.
  /// What was counted of an operation in each interval, the oldest first; at most intervals_max of them.
  std::vector<Durations> of_operation(std::size_t operation) const;
  /// How long those intervals are together.
  double seconds() const noexcept;
  /// Requests in a second of a connection that has had so many, since the last moment at which it was looked at, or
  /// the one before where that is hardly over; nothing where it was not there.
  double rate_of(std::uint64_t connection_id, std::uint64_t requests) const noexcept;

private:
  struct Moment {
    std::int64_t at_ms = 0;
    std::array<Durations, operations_counted> durations;
  };
  struct Requests {
    std::int64_t at_ms = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> of_connections;  ///< by id, in rising order
  };
  struct Timer;

  void note();
  void wait();

  Worker& worker_;
  const ReportSources sources_;
  std::deque<Moment> moments_;
  std::array<Requests, 2> requests_;  ///< the newer one first
  std::unique_ptr<Timer> timer_;
};

}  // namespace pageserver::server
