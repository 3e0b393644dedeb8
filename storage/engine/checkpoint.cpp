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
  const SessionState* const oldest = holders_.oldest();
  return oldest == nullptr || mutated(Mutation::checkpoint_past_pin) ? entered_ : oldest->held;
}

void Engine::consider_checkpoint() noexcept {
  if (checkpoint_missed_) return submit_checkpoint();
  if (!round_.idle() || cutting_image_ || stopping_ || !sync_error_.empty()) return;
  const LogPoint reachable = reachable_point();
  const bool for_room = room_.wanted() && round_makes_room();
  // After an error there may be nothing to copy, and files of the log that could not be removed.
  if (reachable.version <= checkpointed_.version && !checkpoint_error_ && !for_room) return;
  // Worth its two syncs.
  constexpr std::uint64_t early_cost_min = 1ull << 20;
  constexpr std::uint64_t index_bytes_max = 32ull << 20;
  // Not sooner than it must: what is written again meanwhile is copied once.
  const std::uint64_t behind = reachable.cost - checkpointed_.cost;
  const bool for_reads = std::exchange(reads_want_checkpoint_, false);
  const bool early = behind >= early_cost_min && (for_reads || published().index.memory_bytes() > index_bytes_max);
  if (!early && behind <= options_.log_bytes / 2 && !past_log_bound() && !checkpoint_error_ && !for_room) return;
  round_.enter(Phase::scheduled);
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
    begins = round_.phase() == Phase::scheduled;
  }
  if (begins) look_at_image();
  std::uint64_t pages = 0, first_page = 0;
  {
    After after{*this};
    if (!start_round(after)) return;
    const Lock lock{mutex_};
    // Reads of older versions may still take from the image what this round is going to change.
    if (round_.phase() == Phase::draining && !must_wait_for_reads(after)) round_.enter(Phase::copying);
    if (round_.phase() != Phase::copying) return;
    pages = round_.pages();
    first_page = round_.cursor();
  }
  extend_image(pages);
  {
    const Lock lock{mutex_};
    pace_.begin_step(entered_.position);
  }
  const std::optional<std::uint64_t> next_page = copy_step();
  if (!next_page) return finish_round();
  // The sync at the end then has little left to wait for.
  file_system_.start_writeback(image_->file().descriptor(), first_page * page_size,
                               (*next_page - first_page) * page_size);
  pace_round();
}

// Nothing waits here, so that a store that closes need not wait either: the next step comes now, or with a publish.
void Engine::pace_round() {
  {
    const Lock lock{mutex_};
    pace_.end_step();
    resume_round(pace_.is_alone(entered_.position));
    if (!pace_.is_paused()) return;
  }
  notes_.settle(image_->file());
}

/// `anyway`: nobody writes whom it could be in the way of.
void Engine::resume_round(bool anyway) noexcept {
  if (checkpoint_missed_) return submit_checkpoint();
  const bool hurries = room_.wanted() || entered_.cost - checkpointed_.cost > options_.log_bytes / 4 * 3;
  if (pace_.resume(anyway || hurries)) submit_checkpoint();
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
  if (round_.phase() == Phase::scheduled) {
    finish_entering(after);
    if (must_wait_for_reads(after)) return false;  // left over from a round that failed
    const LogPoint until = reachable_point();
    // Pages are only ever added, so what the oldest holder sees is what its version has.
    round_.begin(until, until.version == published().version ? published().pages : holders_.oldest()->held_pages);
    pace_.begin_round();
    gate_.begin_generation(ReadGate::Change{gate_});
    if (tail_.synced().position < until.position && !mutated(Mutation::checkpoint_past_synced)) {
      round_.enter(Phase::syncing);
      flush.front().position = until.position;
      flushes_.splice(flushes_.end(), flush);
      schedule_sync(std::move(sync));
      return false;
    }
    round_.enter(Phase::draining);
  } else if (round_.phase() == Phase::syncing && tail_.synced().position >= round_.until().position) {
    round_.enter(Phase::draining);
  }
  return true;
}

void Engine::extend_image(std::uint64_t pages) {
  if (image_->pages() < pages) {
    const ImageChange change{*this};
    image_->grow(pages - image_->pages(), ~0ull);
  }
  // Not whether it grew now: a step that grew it may have failed before it could say so.
  {
    const Lock lock{mutex_};
    if (published().image_bytes == image_->size()) return;
  }
  const std::byte* const address = mapped_image_ ? mapped_image_->address(image_->size()) : nullptr;
  const Lock lock{mutex_};
  const ReadGate::Change change{gate_};
  published_.image_bytes = image_->size();
  published_.image_address = address;
}

/// The page to go on with; nothing when all is copied.
std::optional<std::uint64_t> Engine::copy_step() {
  // A hole of many pages is one call. So many at most beyond where there is no data, and then the step is done.
  constexpr std::uint64_t punch_pages_max = 16384;
  std::vector<LogSegmentRef> segments;
  std::uint64_t next = 0;
  for (std::uint64_t copied = 0; copied < options_.checkpoint_step_bytes;) {
    PageCopy copy;
    {
      const Lock lock{mutex_};
      copy.page = published().index.next_page(round_.cursor());
      if (copy.page == no_position) return std::nullopt;
      const std::uint64_t until = published().index.alike_until(copy.page);
      next = until;
      round_.move_to(next);
      const ReadGate::Change settling{gate_};
      LogIndex& index = published_.index;
      index.pieces_at(copy.page, round_.until().version, 0, static_cast<std::uint32_t>(page_size), copy.pieces);
      if (copy.pieces.empty()) continue;
      if (segments.empty()) segments.assign(published_.segments.begin(), published_.segments.end());
      if (all_zero(copy)) {
        PageCopy newest;
        index.pieces_at(copy.page, published_.version, 0, static_cast<std::uint32_t>(page_size), newest.pieces);
        // Up to the first page that the publish under way needs.
        const std::uint64_t free_until = reservations_.free_until(copy.page);
        copy.may_punch = all_zero(newest) && copy.page < free_until;
        if (copy.may_punch) {
          const std::uint64_t punch_until = std::max(copy.page, round_.data_from()) + punch_pages_max;
          copy.pages = std::min({until, free_until, punch_until}) - copy.page;
          reservations_.remove({copy.page, copy.page + copy.pages});
        }
        next = copy.page + copy.pages;
        round_.move_to(next);
      }
    }
    const ImageChange change{*this};
    const PagesCopied done = copy_pages(copy, segments, image_->file(), copy_scratch_);
    if (done.punched) refill_hole({copy.page, copy.page + copy.pages});
    for (const Piece& piece : copy.pieces) copied += piece.end - piece.begin;
    if (copy.pages == 1) continue;
    next = copy.page + done.pages;
    std::uint64_t data_from = 0;
    if (copy.pages >= punch_pages_max)
      data_from = std::max(next, image_->file().next_data(next * page_size, image_->size()) / page_size);
    const Lock lock{mutex_};
    if (data_from != 0) round_.set_data_from(data_from);
    round_.move_to(next);
    if (done.punched) return next;
  }
  return next;
}

// A writer may have reserved blocks of these pages while the hole was made: its flush must still fit.
void Engine::refill_hole(PageRun run) {
  std::vector<PageRun> wanted;
  {
    const Lock lock{mutex_};
    wanted = reservations_.promised(run);
  }
  for (const PageRun& one : wanted) {
    const ImageChange change{*this};
    static_cast<void>(image_->file().reserve(one.first * page_size, (one.end - one.first) * page_size));
  }
}

void Engine::finish_round() {
  LogPoint until;
  {
    const Lock lock{mutex_};
    until = round_.until();
  }
  if (mutated(Mutation::cut_log_before_image_sync)) cut_log(until.position);
  try {
    // With its times, for the note that this leaves in the log.
    const ImageNotes::Sync sync = notes_.begin_sync(image_->file());
    if (!mutated(Mutation::drop_image_sync)) image_->file().sync();
    notes_.end_sync(sync);
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
    page = published_.index.drop_until(until.version, page, options_.index_entries_at_once);
  }
  {
    const Lock lock{mutex_};
    checkpointed_ = until;
    round_.let_go();
    small_bytes_ = 0;
  }
  begin_empty_segment();
  cut_log(until.position);
  After after{*this};
  const Lock lock{mutex_};
  round_.end();
  room_.end_round();
  bound_.clear_until(until.cost);  // not before: the files take room until they are gone
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
    const std::vector<LogSegmentRef>& segments = published().segments;
    // The last segment goes only at a clean stop: it is the one that is appended to.
    const std::size_t removable = segments.size() - (stopping_ || segments.empty() ? 0 : 1);
    while (count < removable && segments[count]->end_position <= position) ++count;
    if (count == 0) return;
    oldest_kept = count < segments.size() ? segments[count] : segments.back();
    // A log of one file needs no mark to be removed.
    if (oldest_kept == segments.front()) oldest_kept = nullptr;
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
      room_wanted = room_.wanted();
      oldest = published().segments.front();
      others = published().segments.size() - 1;
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
      published_.segments.erase(published_.segments.begin());
    }
    if (keeps) log_.keep_spare(std::move(oldest));
  }
}

void Engine::fail_round() noexcept {
  After after{*this};
  const Lock lock{mutex_};
  round_.end();
  pace_.end_round();
  room_.end_round();
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

void Engine::take_rooms(After& after) noexcept {
  room_.call_all(after.rooms);
  wake_commit();
}

Engine::ImageChange::ImageChange(Engine& engine) {
  try {
    noted_.emplace(engine.notes_, engine.image_->file());
  } catch (const NoteSyncError&) {
    engine.fail_sync();
    throw;
  }
  change_.emplace(engine.watch_);
}

std::string Engine::look_at_image() {
  const ImageWatch::Look look = watch_.begin_look();
  notes_.settle(image_->file());
  FileStatus status;
  const bool seen = file_system_.status(image_->file().descriptor(), status).ok();
  std::string found = image_->outside_change();
  if (found.empty()) found = log_misplaced();
  if (const auto foreign = notes_.foreign_ns(); foreign && found.empty())
    found = "the file " + quoted(shown_path_) + " was written to from outside while the store wrote nothing, at " +
            time_text(*foreign) +
            "; stop the store in order, and compare the image with a copy: after a crash its log is not replayed "
            "unless `pagectl recover --adopt` says so";
  const bool is_back = is_misplaced_ && find_misplaced().empty();
  const Lock lock{mutex_};
  if (is_back) note_placement({});
  return watch_.end_look(look, seen ? std::optional{status.modified_ns} : std::nullopt, std::move(found), shown_path_);
}

}  // namespace pageserver::storage
