// A stretch of the log on its way into the image.
//
//   idle --> scheduled --> syncing --> draining --> copying --> idle
//               |                         ^
//               +-------------------------+     what it copies is durable in the log already
//
// syncing: what it copies has to be durable in the log first. draining: reads that began before it may still take from
// the image what it is going to change; they are waited for. Any of them may end it by failing.
#pragma once

#include <cstdint>

#include "storage/engine/log_point.hpp"

namespace pageserver::storage {

/// Changed under the engine's mutex; `pages()`, `cursor()` and `data_from()` by the checkpoint lane alone, which looks
/// at them without.
class CheckpointRound {
public:
  enum class Phase : std::uint8_t { idle, scheduled, syncing, draining, copying };

  Phase phase() const noexcept { return phase_; }
  bool idle() const noexcept { return phase_ == Phase::idle; }
  void enter(Phase phase) noexcept { phase_ = phase; }

  /// It copies what is published up to `until`, in an image of so many pages.
  void begin(const LogPoint& until, std::uint64_t pages) noexcept {
    until_ = until;
    pages_ = pages;
    held_version_ = until.version;
    cursor_ = data_from_ = 0;
  }
  /// Everything is copied, and its version is needed no more.
  void let_go() noexcept { held_version_ = 0; }
  void end() noexcept {
    phase_ = Phase::idle;
    held_version_ = 0;
  }

  const LogPoint& until() const noexcept { return until_; }
  std::uint64_t pages() const noexcept { return pages_; }
  /// While it lasts it holds its version, as a pin does: whether that is a version v with `from <= v < until`.
  bool holds_within(std::uint64_t from, std::uint64_t until) const noexcept {
    return held_version_ != 0 && from <= held_version_ && held_version_ < until;
  }

  /// The next page to look at.
  std::uint64_t cursor() const noexcept { return cursor_; }
  void move_to(std::uint64_t page) noexcept { cursor_ = page; }
  /// The image has no data between the cursor and this page.
  std::uint64_t data_from() const noexcept { return data_from_; }
  void set_data_from(std::uint64_t page) noexcept { data_from_ = page; }

private:
  Phase phase_ = Phase::idle;
  LogPoint until_;
  std::uint64_t pages_ = 0;
  std::uint64_t held_version_ = 0;
  std::uint64_t cursor_ = 0;
  std::uint64_t data_from_ = 0;
};

}  // namespace pageserver::storage
