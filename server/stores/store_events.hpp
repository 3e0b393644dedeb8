// What a store's engine says, timed and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "server/metrics/figures.hpp"
#include "storage/engine/engine_events.hpp"

namespace pageserver::server {

class StoreEvents final : public storage::EngineEvents {
public:
  /// `figures` may be null, and outlives this.
  explicit StoreEvents(Figures* figures) noexcept : figures_(figures) {}

  void log_sync_begins() noexcept override { begin(log_sync_); }
  void log_sync_ended() noexcept override {
    if (figures_ != nullptr) end(log_sync_, figures_->log_syncs);
  }
  void sync_failed() noexcept override { count(&Figures::sync_failures); }
  void commit_begins() noexcept override { begin(commit_); }
  void commit_ended() noexcept override {
    if (figures_ != nullptr) end(commit_, figures_->commits);
  }
  void checkpoint_begins() noexcept override { begin(checkpoint_); }
  void checkpoint_ended() noexcept override {
    if (figures_ != nullptr) end(checkpoint_, figures_->checkpoints);
  }
  void checkpoint_failed() noexcept override { count(&Figures::checkpoint_failures); }
  void version_given_up() noexcept override { count(&Figures::snapshots_given_up); }
  void recovery_read(std::uint64_t bytes) noexcept override {
    recovery_read_ = bytes;
    begin(recovery_);
  }
  void recovery_copied(std::uint64_t page, std::uint64_t pages) noexcept override {
    begin(recovery_);
    recovery_pages_ = pages;
    recovery_page_ = page;
  }

  /// Any thread: when a recovery last came further, by the clock of base::monotonic_ns().
  std::chrono::steady_clock::time_point recovery_went_on() const noexcept {
    return std::chrono::steady_clock::time_point{std::chrono::nanoseconds{recovery_.load(std::memory_order_relaxed)}};
  }
  /// Any thread: what an opening does, for people.
  std::string opening() const {
    if (const std::uint64_t pages = recovery_pages_; pages != 0)
      return "recovering: up to page " + std::to_string(recovery_page_) + " of " + std::to_string(pages);
    if (const std::uint64_t bytes = recovery_read_; bytes != 0)
      return "recovering: " + std::to_string(bytes) + " bytes of the log read";
    return "it is not open yet";
  }

private:
  using Moment = std::atomic<std::int64_t>;
  static void begin(Moment& began) noexcept { began.store(base::monotonic_ns(), std::memory_order_relaxed); }
  static void end(const Moment& began, DurationCounter& durations) noexcept {
    durations.add(static_cast<std::uint64_t>(base::monotonic_ns() - began.load(std::memory_order_relaxed)));
  }
  void count(Figures::Counter Figures::*counter) noexcept {
    if (figures_ != nullptr) (figures_->*counter).fetch_add(1, std::memory_order_relaxed);
  }

  Figures* const figures_;
  Moment log_sync_{0};
  Moment commit_{0};
  Moment checkpoint_{0};
  Moment recovery_{0};
  std::atomic<std::uint64_t> recovery_read_{0};
  std::atomic<std::uint64_t> recovery_page_{0};
  std::atomic<std::uint64_t> recovery_pages_{0};
};

}  // namespace pageserver::server
