#include "server/metrics/request_figures.hpp"

#include "base/mutex.hpp"

namespace pageserver::server {

namespace {

/// All figures of the process. Never destroyed: threads may end after everything else.
struct Registry {
  Mutex mutex;
  RequestFigures* first PAGESERVER_GUARDED_BY(mutex) = nullptr;
  RequestSums ended PAGESERVER_GUARDED_BY(mutex);
};

Registry& registry() {
  static Registry* const all = new Registry;
  return *all;
}

}  // namespace

RequestFigures::RequestFigures() {
  Registry& all = registry();
  const Lock lock{all.mutex};
  next_ = all.first;
  if (next_ != nullptr) next_->before_ = this;
  all.first = this;
}

RequestFigures::~RequestFigures() {
  Registry& all = registry();
  const Lock lock{all.mutex};
  add_to(all.ended);
  if (next_ != nullptr) next_->before_ = before_;
  (before_ != nullptr ? before_->next_ : all.first) = next_;
}

void RequestFigures::add_to(RequestSums& sums) const noexcept {
  for (std::size_t operation = 0; operation < operations_counted; ++operation) {
    durations_[operation].add_to(sums.durations[operation]);
    for (std::size_t status = 0; status < statuses_counted; ++status)
      sums.failures[operation][status] += failures_[operation][status];
  }
}

void RequestFigures::sum_up(RequestSums& sums) noexcept {
  Registry& all = registry();
  const Lock lock{all.mutex};
  sums = all.ended;
  for (const RequestFigures* one = all.first; one != nullptr; one = one->next_) one->add_to(sums);
}

void RequestRow::begin_row(std::uint64_t ns) noexcept {
  end();
  const std::size_t bucket = duration_bucket(ns);
  constexpr std::uint64_t least = 1ull << duration_first_bit;
  low_ = bucket == 0 ? 0 : least << (bucket - 1);
  width_ = bucket == 0 ? least : bucket == duration_buckets - 1 ? UINT64_MAX - low_ : low_;
  row_operation_ = operation_;
}

void RequestRow::end() noexcept {
  if (row_count_ == 0) return;
  const std::size_t operation = counted_as(row_operation_);
  figures_.add(operation, duration_bucket(low_), row_count_);
  figures_.add_sum(operation, row_ns_);
  row_count_ = 0;
  row_ns_ = 0;
}

}  // namespace pageserver::server
