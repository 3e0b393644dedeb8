// How long things take, counted in buckets that double: from a microsecond to some seconds each is shown to within a
// factor of two, and a count is one addition.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "server/runtime/tally.hpp"

namespace pageserver::server {

/// Bucket i has what took less than 2^(10 + i) ns, and no less than half of that; the last one all that took longer.
/// The least bound is 1.024 us, the greatest 34 s.
inline constexpr std::size_t duration_buckets = 27;
inline constexpr unsigned duration_first_bit = 10;

constexpr std::size_t duration_bucket(std::uint64_t ns) noexcept {
  const auto bits = static_cast<std::size_t>(std::bit_width(ns | ((1u << duration_first_bit) - 1)));
  return std::min(bits - duration_first_bit, duration_buckets - 1);
}
/// Of a bucket that is not the last one.
constexpr double duration_bound_seconds(std::size_t bucket) noexcept {
  return static_cast<double>(1ull << (duration_first_bit + bucket)) / 1e9;
}

/// What was counted, added up.
struct Durations {
  std::array<std::uint64_t, duration_buckets> counts{};
  std::uint64_t sum_ns = 0;

  std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts) all += one;
    return all;
  }
};

/// Of one thread; read by any.
class DurationTally {
public:
  void add(std::size_t bucket, std::uint64_t times) noexcept { counts_[bucket].add(times); }
  void add_sum(std::uint64_t ns) noexcept { sum_ns_.add(ns); }
  void add_to(Durations& sum) const noexcept {
    for (std::size_t i = 0; i < duration_buckets; ++i) sum.counts[i] += counts_[i];
    sum.sum_ns += sum_ns_;
  }

private:
  std::array<Tally, duration_buckets> counts_;
  Tally sum_ns_;
};

/// Counted by any thread: for what is seldom beside what it costs.
class DurationCounter {
public:
  void add(std::uint64_t ns) noexcept {
    counts_[duration_bucket(ns)].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(ns, std::memory_order_relaxed);
  }
  Durations durations() const noexcept {
    Durations all;
    for (std::size_t i = 0; i < duration_buckets; ++i) all.counts[i] = counts_[i].load(std::memory_order_relaxed);
    all.sum_ns = sum_ns_.load(std::memory_order_relaxed);
    return all;
  }

private:
  std::array<std::atomic<std::uint64_t>, duration_buckets> counts_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

}  // namespace pageserver::server
