// Checkpoints: copying what every holder has passed from the log into the image, on the checkpoint lane, in steps.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/mutation.hpp"
#include "storage/engine/core.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {

LogPoint Engine::reachable_point() const {
  if (holders_.empty() || mutated(Mutation::checkpoint_past_pin)) return published_;
  const SessionState& oldest = *holders_.begin()->second;
  return {oldest.held_position, oldest.held_version, oldest.held_cost};
}

void Engine::consider_checkpoint() noexcept {
  if (checkpoint_missed_) return submit_checkpoint();
  if (round_phase_ != RoundPhase::idle || cutting_image_ || stopping_ || !sync_error_.empty()) return;
  const LogPoint reachable = reachable_point();
  // After an error there may be nothing to copy, and files of the log that could not be removed.
  const bool for_room = room_wanted_ && (reachable.version > checkpointed_.version ||
                                         (reachable.version == version_ && log_can_be_emptied()));
  if (reachable.version <= checkpointed_.version && !checkpoint_error_ && !for_room) return;
  // Worth its two syncs.
  constexpr std::uint64_t early_cost_min = 1ull << 20;
  constexpr std::uint64_t index_bytes_max = 32ull << 20;
  // Not sooner than it must: what is written again meanwhile is copied once.
  const std::uint64_t behind = reachable.cost - checkpointed_.cost;
  const bool for_reads = std::exchange(reads_want_checkpoint_, false);
  const bool early = behind >= early_cost_min && (for_reads || index_.memory_bytes() > index_bytes_max);
  if (!early && behind <= options_.log_bytes / 2 && !past_log_bound() && !checkpoint_error_ && !for_room) return;
  round_phase_ = RoundPhase::scheduled;
  submit_checkpoint();
}

// Whoever can't wait for it, which is everybody here, has it tried again by the next.
void Engine::submit_checkpoint() noexcept {
  try {
    checkpoint_lane_.submit_ready(make_ready(&Engine::checkpoint_task));
    checkpoint_missed_ = false;
  } catch (const std::bad_alloc&) {
    checkpoint_missed_ = true;
  }
}

void Engine::checkpoint_task() noexcept {
  try {
    step_checkpoint();
  } catch (...) {
    fail_round();
  }
}

void Engine::step_checkpoint() {
  bool begins = false;
  {
    const Lock lock{mutex_};
    begins = round_phase_ == RoundPhase::scheduled;
  }
  if (begins) look_at_image();
  bool copies = false;
  {
    After after{*this};
    if (start_round(after)) {
      const Lock lock{mutex_};
      if (round_phase_ == RoundPhase::draining) {
        // Reads of older versions may still take from the image what this round is going to change.
        if (!must_wait_for_reads(after)) round_phase_ = RoundPhase::copying;
      }
      copies = round_phase_ == RoundPhase::copying;
    }
  }
  if (!copies) return;
  extend_image();
  {
    const Lock lock{mutex_};
    step_position_ = published_.position;
  }
  const std::uint64_t first_page = round_cursor_;
  if (!copy_step()) return finish_round();
  // The sync at the end then has little left to wait for.
  file_system_.start_writeback(image_->file().descriptor(), first_page * page_size,
                               (round_cursor_ - first_page) * page_size);
  pace_round();
}

// Nothing waits here, so that a store that closes need not wait either: the next step comes now, or with a publish.
void Engine::pace_round() {
  const Lock lock{mutex_};
  pace_bytes_ -= static_cast<std::int64_t>(options_.checkpoint_step_bytes);
  round_paused_ = true;
  resume_round(published_.position == step_position_);
}

/// `anyway`: nobody writes whom it could be in the way of.
void Engine::resume_round(bool anyway) noexcept {
  if (checkpoint_missed_) return submit_checkpoint();
  if (!round_paused_) return;
  const bool hurries = room_wanted_ || published_.cost - checkpointed_.cost > options_.log_bytes / 4 * 3;
  if (!anyway && options_.checkpoint_pace != 0 && pace_bytes_ <= 0 && !hurries) return;
  round_paused_ = false;
  submit_checkpoint();
}

// Reads may wait for the disk for long. The writer does not wait for them: see past_log_bound().
bool Engine::must_wait_for_reads(After& after) {
  gate_.await_reads(true);
  if (!gate_.has_reads(gate_.generation() ^ 1u) || mutated(Mutation::checkpoint_past_reads)) {
    gate_.await_reads(stopping_);
    return false;
  }
  waiting_for_reads_ = true;
  take_rooms(after);
  return true;
}

bool Engine::start_round(After& after) {
  std::list<Flush> flush(1);
  flush.front().for_checkpoint = true;
  Background::Ready sync = make_ready(&Engine::sync_task);
  const Lock lock{mutex_};
  if (round_phase_ == RoundPhase::scheduled) {
    finish_entering(after);
    if (must_wait_for_reads(after)) return false;  // left over from a round that failed
    round_ = reachable_point();
    // Pages are only ever added, so what the oldest holder sees is what its version has.
    round_pages_ = round_.version == version_ ? pages_ : holders_.begin()->second->held_pages;
    round_holder_ = round_.version;
    round_cursor_ = 0;
    round_data_from_ = 0;
    pace_bytes_ = static_cast<std::int64_t>(options_.checkpoint_step_bytes);
    round_paused_ = false;
    gate_.begin_generation(ReadGate::Change{gate_});
    if (synced_.position < round_.position && !mutated(Mutation::checkpoint_past_synced)) {
      round_phase_ = RoundPhase::syncing;
      flush.front().position = round_.position;
      flushes_.splice(flushes_.end(), flush);
      schedule_sync(std::move(sync));
      return false;
    }
    round_phase_ = RoundPhase::draining;
  } else if (round_phase_ == RoundPhase::syncing && synced_.position >= round_.position) {
    round_phase_ = RoundPhase::draining;
  }
  return true;
}

void Engine::extend_image() {
  if (image_->pages() < round_pages_) {
    const ImageChange change{*this};
    image_->grow(round_pages_ - image_->pages(), ~0ull);
  }
  // Not whether it grew now: a step that grew it may have failed before it could say so. Of this lane alone.
  if (image_bytes_ == image_->size()) return;
  const std::byte* const address = mapped_image_ ? mapped_image_->address(image_->size()) : nullptr;
  const Lock lock{mutex_};
  const ReadGate::Change change{gate_};
  image_bytes_ = image_->size();
  image_address_ = address;
}

bool Engine::copy_step() {
  // A hole of many pages is one call. So many at most beyond where there is no data, and then the step is done.
  constexpr std::uint64_t punch_pages_max = 16384;
  std::vector<LogSegmentRef> segments;
  for (std::uint64_t copied = 0; copied < options_.checkpoint_step_bytes;) {
    PageCopy copy;
    {
      const Lock lock{mutex_};
      copy.page = index_.next_page(round_cursor_);
      if (copy.page == no_position) return false;
      const std::uint64_t until = index_.alike_until(copy.page);
      round_cursor_ = until;
      const ReadGate::Change settling{gate_};
      index_.pieces_at(copy.page, round_.version, 0, static_cast<std::uint32_t>(page_size), copy.pieces);
      if (copy.pieces.empty()) continue;
      if (segments.empty()) segments.assign(segments_.begin(), segments_.end());
      if (all_zero(copy)) {
        PageCopy newest;
        index_.pieces_at(copy.page, version_, 0, static_cast<std::uint32_t>(page_size), newest.pieces);
        // Up to the first page that the publish under way needs.
        const auto needed = std::lower_bound(publishing_pages_.begin(), publishing_pages_.end(), copy.page,
                                             [](const PageRun& run, std::uint64_t page) { return run.end <= page; });
        const std::uint64_t free_until = needed == publishing_pages_.end() ? no_position : needed->first;
        copy.may_punch = all_zero(newest) && copy.page < free_until;
        if (copy.may_punch) {
          const std::uint64_t punch_until = std::max(copy.page, round_data_from_) + punch_pages_max;
          copy.pages = std::min({until, free_until, punch_until}) - copy.page;
          reserved_pages_.remove({copy.page, copy.page + copy.pages});
        }
        round_cursor_ = copy.page + copy.pages;
      }
    }
    const ImageChange change{*this};
    const PagesCopied done = copy_pages(copy, segments, image_->file(), copy_scratch_);
    if (done.punched) refill_hole({copy.page, copy.page + copy.pages});
    for (const Piece& piece : copy.pieces) copied += piece.end - piece.begin;
    if (copy.pages == 1) continue;
    if (copy.pages >= punch_pages_max) round_data_from_ = next_data_page(copy.page + done.pages);
    const Lock lock{mutex_};
    round_cursor_ = copy.page + done.pages;
    if (done.punched) return true;
  }
  return true;
}

/// The first page from `page` on that may have data in the image.
std::uint64_t Engine::next_data_page(std::uint64_t page) const {
  const std::uint64_t pages = image_->pages();
  if (page >= pages) return page;
  const IoResult found = retried([&] { return file_system_.seek_data(image_->file().descriptor(), page * page_size); });
  if (found.ok()) return static_cast<std::uint64_t>(found.value) / page_size;
  return found.error == ENXIO ? pages : page;
}

// A writer may have reserved blocks of these pages while the hole was made: its flush must still fit.
void Engine::refill_hole(PageRun run) {
  std::vector<PageRun> wanted;
  {
    const Lock lock{mutex_};
    reserved_pages_.common(run, wanted);
    auto needed = std::lower_bound(publishing_pages_.begin(), publishing_pages_.end(), run.first,
                                   [](const PageRun& one, std::uint64_t page) { return one.end <= page; });
    for (; needed != publishing_pages_.end() && needed->first < run.end; ++needed)
      wanted.push_back({std::max(needed->first, run.first), std::min(needed->end, run.end)});
  }
  for (const PageRun& one : wanted) {
    const ImageChange change{*this};
    static_cast<void>(image_->file().reserve(one.first * page_size, (one.end - one.first) * page_size));
  }
}

void Engine::finish_round() {
  if (mutated(Mutation::cut_log_before_image_sync)) cut_log(round_.position);
  try {
    // With its times, for the note that this leaves in the log.
    const std::int64_t modified_ns = image_->file().status().modified_ns;
    if (!mutated(Mutation::drop_image_sync)) image_->file().sync();
    notes_.note_durable(modified_ns);
  } catch (...) {
    fail_round();
    return fail_sync();
  }
  notes_.settle(image_->file());
  try {
    check_image_stays();
  } catch (...) {
    fail_round();
    return fail_sync();
  }
  for (std::uint64_t page = 0; page != no_position; gate_.let_looks_pass()) {
    const Lock lock{mutex_};
    const ReadGate::Change change{gate_};
    page = index_.drop_until(round_.version, page, options_.index_entries_at_once);
  }
  {
    const Lock lock{mutex_};
    checkpointed_ = round_;
    round_holder_ = 0;
    small_bytes_ = 0;
  }
  begin_empty_segment();
  cut_log(round_.position);
  After after{*this};
  const Lock lock{mutex_};
  round_phase_ = RoundPhase::idle;
  end_room_round();
  cleared_cost_ = round_.cost;  // not before: the files take room until they are gone
  checkpoint_error_.reset();
  take_rooms(after);
  consider_checkpoint();
}

void Engine::cut_log(std::uint64_t position) {
  LogSegmentRef oldest_kept;
  bool entry_synced = true;
  bool ends = false;
  std::size_t count = 0;
  {
    const Lock lock{mutex_};
    ends = stopping_;
    // The last segment goes only at a clean stop: it is the one that is appended to.
    const std::size_t removable = segments_.size() - (stopping_ || segments_.empty() ? 0 : 1);
    while (count < removable && segments_[count]->end_position <= position) ++count;
    if (count == 0) return;
    oldest_kept = count < segments_.size() ? segments_[count] : segments_.back();
    // A log of one file needs no mark to be removed.
    if (oldest_kept == segments_.front()) oldest_kept = nullptr;
    if (oldest_kept) entry_synced = oldest_kept->entry_synced;
  }
  const auto must_sync = [this](const auto& action) {
    try {
      action();
    } catch (...) {
      fail_sync();
      throw;
    }
  };
  if (oldest_kept)
    must_sync([&] {
      mark_segment(*oldest_kept);
      // The mark lasts no longer than the file's name.
      if (!entry_synced && !mutated(Mutation::drop_mark_entry_sync)) folder_.sync();
    });
  for (; count != 0; --count) {
    LogSegmentRef oldest;
    std::size_t others = 0;
    bool room_wanted = false;
    {
      const Lock lock{mutex_};
      room_wanted = room_wanted_;
      oldest = segments_.front();
      others = segments_.size() - 1;
    }
    // Each removal is durable before the next, so that a crash never leaves a log with a gap.
    bool keeps = !ends && !room_wanted && log_.wants(*oldest, others);
    const std::string name = segment_name(image_name_, oldest->number);
    if (keeps) {
      const std::string spare = spare_name(image_name_, oldest->number);
      const IoResult renamed = folder_.try_rename(name, spare);
      // A full disk may have no room for another name.
      keeps = renamed.ok();
      if (!keeps && renamed.error != ENOSPC && renamed.error != EDQUOT)
        throw file_error(file_system_, "rename " + quoted(folder_.path_of(name)) + " to", folder_.path_of(spare),
                         renamed.error);
    }
    if (!keeps) folder_.remove(name);
    must_sync([&] {
      if (!mutated(Mutation::drop_removal_sync)) folder_.sync();
    });
    {
      const Lock lock{mutex_};
      const ReadGate::Change change{gate_};
      segments_.erase(segments_.begin());
    }
    if (keeps) log_.keep_spare(std::move(oldest));
  }
}

void Engine::fail_round() noexcept {
  After after{*this};
  const Lock lock{mutex_};
  round_phase_ = RoundPhase::idle;
  round_holder_ = 0;
  round_paused_ = false;
  end_room_round();
  try {
    throw;
  } catch (const MemoryError& error) {
    try {
      checkpoint_error_ = std::make_shared<MemoryError>(
          error.errc(), "the log of " + quoted(shown_path_) +
                            " can't be copied into the image, so that nothing more is accepted; what was flushed is "
                            "safe in the log. " +
                            error.what());
    } catch (const std::bad_alloc&) {
      checkpoint_error_ = checkpoint_memory_error_;
    }
  } catch (...) {
    checkpoint_error_ = checkpoint_memory_error_;
  }
  take_rooms(after);
}

void Engine::end_room_round() noexcept {
  room_wanted_ = false;
  ++rounds_ended_;
}

void Engine::take_rooms(After& after) noexcept {
  after.rooms.merge(rooms_);
  wake_commit();
}

std::string Engine::look_at_image() {
  const std::uint64_t changing_before = image_changing_.load();
  const std::uint64_t changes_before = image_changes_.load();
  FileStatus status;
  const bool seen = file_system_.status(image_->file().descriptor(), status).ok();
  std::string warning = image_->outside_change();
  if (warning.empty()) warning = log_misplaced();
  const Lock lock{mutex_};
  // Our own changes move the time too: only a look with none before, during and since the last look proves anything.
  const bool quiet = seen && changing_before == 0 && changes_before == image_changes_.load();
  if (quiet && baseline_changes_ == changes_before && baseline_modified_ns_ != 0 &&
      status.modified_ns != baseline_modified_ns_ && warning.empty())
    warning = "the file " + quoted(shown_path_) + " was written to from outside while the store wrote nothing";
  if (quiet) {
    baseline_changes_ = changes_before;
    baseline_modified_ns_ = status.modified_ns;
  }
  // A size that is just being set is no change from outside.
  if (!quiet) warning.clear();
  if (!warning.empty()) image_warning_ = warning;
  return image_warning_;
}

}  // namespace pageserver::storage
