// Requests as they are counted: each thread that serves them has figures of its own, which nobody else changes, and who
// asks adds them up. So counting costs a request a few instructions, and no thread waits for another.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "proto/wire.hpp"
#include "server/metrics/durations.hpp"
#include "server/runtime/tally.hpp"

namespace pageserver::server {

/// Operations have the numbers 1 to so many less one, and statuses 0 to so many less one. What lies beyond, which a
/// peer may send, counts as number 0 of operations and is told as `unknown`.
inline constexpr std::size_t operations_counted = 26;
inline constexpr std::size_t statuses_counted = 26;

constexpr std::size_t counted_as(proto::Operation operation) noexcept {
  const auto number = static_cast<std::size_t>(operation);
  return number < operations_counted ? number : 0;
}

/// A sum over threads.
struct RequestSums {
  std::array<Durations, operations_counted> durations{};
  std::array<std::array<std::uint64_t, statuses_counted>, operations_counted> failures{};  ///< of status ok: nothing

  std::uint64_t failed(std::size_t operation) const noexcept {
    return std::accumulate(failures[operation].begin(), failures[operation].end(), std::uint64_t{0});
  }
};

/// Of one thread, and of those that had it before.
class RequestFigures {
public:
  RequestFigures();
  RequestFigures(const RequestFigures&) = delete;
  RequestFigures& operator=(const RequestFigures&) = delete;
  /// What it has counted stays in the sums.
  ~RequestFigures();

  // On the thread that has it.
  void add(std::size_t operation, std::size_t bucket, std::uint64_t times) noexcept {
    durations_[operation].add(bucket, times);
  }
  void add_sum(std::size_t operation, std::uint64_t ns) noexcept { durations_[operation].add_sum(ns); }
  void add_one(proto::Operation operation, std::chrono::nanoseconds took) noexcept {
    const auto ns = static_cast<std::uint64_t>(took.count());
    add(counted_as(operation), duration_bucket(ns), 1);
    add_sum(counted_as(operation), ns);
  }
  /// An answer with a status other than ok.
  void add_failure(proto::Operation operation, proto::Status status) noexcept {
    const auto number = static_cast<std::size_t>(status);
    if (number < statuses_counted) failures_[counted_as(operation)][number].add(1);
  }

  void add_to(RequestSums& sums) const noexcept;
  /// Any thread: of all threads of this process since it began.
  static void sum_up(RequestSums& sums) noexcept;

private:
  std::array<DurationTally, operations_counted> durations_;
  std::array<std::array<Tally, statuses_counted>, operations_counted> failures_;
  RequestFigures* before_ = nullptr;
  RequestFigures* next_ = nullptr;
};

/// Times requests that one thread serves one after the other, by the moments between them, which it has to know anyway.
/// Requests of a row that are alike are counted together, so that most of them cost a comparison and an addition.
class RequestRow {
public:
  explicit RequestRow(RequestFigures& figures) noexcept : figures_{figures} {}
  RequestRow(const RequestRow&) = delete;
  RequestRow& operator=(const RequestRow&) = delete;
  ~RequestRow() { end(); }

  using Moment = std::chrono::steady_clock::time_point;

  /// What was taken since the last moment has ended now.
  void moment(Moment now) noexcept {
    if (taken_ != 0) close(now);
    began_ = now;
  }
  /// Since the last moment so many requests were answered, all of them together.
  void taken(proto::Operation operation, std::size_t count = 1) noexcept {
    operation_ = operation;
    taken_ += count;
  }
  bool any_taken() const noexcept { return taken_ != 0; }
  /// What was taken last is not counted. Returns what it was.
  proto::Operation forget_last() noexcept {
    if (taken_ != 0) --taken_;
    return operation_;
  }

private:
  void close(Moment now) noexcept {
    const auto ns = static_cast<std::uint64_t>((now - began_).count());
    if (ns - low_ >= width_ || operation_ != row_operation_) begin_row(ns);
    row_count_ += taken_;
    row_ns_ += ns * taken_;
    taken_ = 0;
  }
  void begin_row(std::uint64_t ns) noexcept;
  void end() noexcept;

  RequestFigures& figures_;
  Moment began_{};
  std::size_t taken_ = 0;
  proto::Operation operation_{};
  // Those of the row took from `low_` on less than `width_` more.
  proto::Operation row_operation_{};
  std::uint64_t low_ = 0;
  std::uint64_t width_ = 0;
  std::uint64_t row_count_ = 0;
  std::uint64_t row_ns_ = 0;
};

}  // namespace pageserver::server
