// One round of the checkpoint: a stretch of the log on its way into the image.
//
//   idle --> scheduled --> syncing --> draining --> copying --> idle
//               |                         ^
//               +-------------------------+     what it copies is durable in the log already
//
// syncing: the stretch has to be durable in the log before it is copied. draining: reads that began before the round
// may still read bytes from the image that it is going to change, so it waits for them. A failure in any phase ends it.
#pragma once

#include <cstdint>

#include "storage/engine/log_point.hpp"
#include "storage/engine/round_pace.hpp"

namespace pageserver::storage {

/// Changed under the engine's mutex; `pages()`, `cursor()` and `data_from()` by the checkpoint lane alone, which looks
/// at them without.
class CheckpointRound {
public:
  enum class Phase : std::uint8_t { idle, scheduled, syncing, draining, copying };

  explicit CheckpointRound(const RoundPace& pace) noexcept : pace_{pace} {}

  Phase phase() const noexcept { return phase_; }
  bool idle() const noexcept { return phase_ == Phase::idle; }
  void enter(Phase phase) noexcept { phase_ = phase; }

  /// Whether none is under way and none is held off.
  bool may_begin() const noexcept { return idle() && !held_off_; }
  /// Holds rounds off while blocks past the image file's end are cut off, since a round could grow the file meanwhile.
  void hold_off(bool held_off) noexcept { held_off_ = held_off; }
  /// The checkpoint lane's task could not be submitted for want of memory: whoever comes next tries again.
  bool was_missed() const noexcept { return missed_; }
  void note_missed(bool missed) noexcept { missed_ = missed; }
  /// Its next step comes once the older generation of reads has ended.
  bool waits_for_reads() const noexcept { return waits_for_reads_; }
  void wait_for_reads(bool waits) noexcept { waits_for_reads_ = waits; }

  /// It copies what is published up to `until`, for an image of `pages` pages.
  void begin(const LogPoint& until, std::uint64_t pages) noexcept {
    until_ = until;
    pages_ = pages;
    held_version_ = until.version;
    cursor_ = data_from_ = 0;
    pace_.begin_round();
  }
  /// Everything is copied: its version is not held any more.
  void let_go() noexcept { held_version_ = 0; }
  void end() noexcept {
    phase_ = Phase::idle;
    held_version_ = 0;
    pace_.end_round();
  }

  /// When its next step comes.
  RoundPace& pace() noexcept { return pace_; }

  const LogPoint& until() const noexcept { return until_; }
  std::uint64_t pages() const noexcept { return pages_; }
  /// A round holds its version, as a pin does. Whether that is a version v with `from <= v < until`.
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
  RoundPace pace_;
  Phase phase_ = Phase::idle;
  bool held_off_ = false;
  bool missed_ = false;
  bool waits_for_reads_ = false;
  LogPoint until_;
  std::uint64_t pages_ = 0;
  std::uint64_t held_version_ = 0;
  std::uint64_t cursor_ = 0;
  std::uint64_t data_from_ = 0;
};

}  // namespace pageserver::storage
