#include "server/recent_figures.hpp"

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "base/clock.hpp"

namespace pageserver::server {

namespace {

// Connections that are looked at for their rates; what costs more than it tells is left out.
constexpr std::size_t rated_max = 16384;

Durations growth(const Durations& before, const Durations& after) noexcept {
  Durations grown;
  for (std::size_t i = 0; i < duration_buckets; ++i)
    grown.counts[i] = after.counts[i] - std::min(before.counts[i], after.counts[i]);
  grown.sum_ns = after.sum_ns - std::min(before.sum_ns, after.sum_ns);
  return grown;
}

}  // namespace

struct RecentFigures::Timer {
  explicit Timer(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
};

RecentFigures::RecentFigures(Worker& worker, const ReportSources& sources)
    : worker_(worker), sources_(sources), timer_(std::make_unique<Timer>(worker.context())) {}

RecentFigures::~RecentFigures() = default;

void RecentFigures::start() {
  worker_.after_trouble([this] { wait(); });
  note();
  wait();
}

void RecentFigures::wait() {
  timer_->timer.expires_after(interval);
  timer_->timer.async_wait([this](const std::error_code& error) {
    if (error) return;
    note();
    wait();
  });
}

void RecentFigures::note() {
  const auto sums = std::make_unique<RequestSums>();
  RequestFigures::sum_up(*sums);
  if (moments_.size() > intervals_max) moments_.pop_front();
  moments_.push_back({base::monotonic_ms(), sums->durations});

  Requests now;
  now.at_ms = base::monotonic_ms();
  constexpr std::size_t at_once = 1024;
  for (std::uint64_t after = 0; now.of_connections.size() < rated_max;) {
    const auto records = sources_.records(after, at_once);
    for (const auto& record : records)
      now.of_connections.emplace_back(record->connection_id(), record->counters.requests.get());
    if (records.size() < at_once) break;
    after = records.back()->connection_id();
  }
  requests_[1] = std::exchange(requests_[0], std::move(now));
}

std::vector<Durations> RecentFigures::of_operation(std::size_t operation) const {
  std::vector<Durations> grown;
  for (std::size_t i = 1; i < moments_.size(); ++i)
    grown.push_back(growth(moments_[i - 1].durations[operation], moments_[i].durations[operation]));
  return grown;
}

double RecentFigures::seconds() const noexcept {
  return moments_.size() < 2 ? 0 : static_cast<double>(moments_.back().at_ms - moments_.front().at_ms) / 1e3;
}

double RecentFigures::rate_of(std::uint64_t connection_id, std::uint64_t requests) const noexcept {
  constexpr std::int64_t least_ms = 1000;
  const std::int64_t now_ms = base::monotonic_ms();
  for (const Requests& before : requests_) {
    if (now_ms - before.at_ms < least_ms) continue;
    const auto found = std::lower_bound(before.of_connections.begin(), before.of_connections.end(),
                                        std::pair{connection_id, std::uint64_t{0}});
    if (found == before.of_connections.end() || found->first != connection_id) continue;
    // A session's count begins anew with the session.
    const std::uint64_t grown = requests - std::min(requests, found->second);
    return static_cast<double>(grown) * 1e3 / static_cast<double>(now_ms - before.at_ms);
  }
  return 0;
}

}  // namespace pageserver::server
