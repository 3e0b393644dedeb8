// Checkpoints: copying the log into the image, up to the oldest version that is held, in steps on the checkpoint lane.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "storage/engine/engine.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {

LogPoint Engine::reachable_point() const {
  const SessionState* const oldest = holders_.oldest();
  return oldest == nullptr || mutated(Mutation::checkpoint_past_pin) ? indexed_.point() : oldest->held;
}

void Engine::consider_checkpoint() noexcept {
  if (round_.was_missed()) return submit_checkpoint();
  if (!round_.may_begin() || tasks_.stopping() || faults_.sync_failed()) return;
  const LogPoint reachable = reachable_point();
  const bool for_room = room_.wanted() && round_makes_room();
  // After an error a round is due even if there is nothing to copy: files of the log may be left to remove.
  if (reachable.version <= bound_.checkpointed().version && !faults_.checkpoint_error() && !for_room) return;
  constexpr std::uint64_t index_bytes_max = 32ull << 20;
  // Otherwise as late as possible: bytes that are written several times meanwhile are copied once.
  const std::uint64_t behind = reachable.cost - bound_.checkpointed().cost;
  const bool for_reads = log_reads_.take_wish();
  const bool early = behind >= early_round_cost_min &&
                     (for_reads || published().index.memory_bytes() > index_bytes_max || index_memory_.is_to_shrink());
  if (!early && behind <= options_.log_bytes / 2 && !past_log_bound() && !faults_.checkpoint_error() && !for_room)
    return;
  round_.enter(Phase::scheduled);
  submit_checkpoint();
}

// Its callers may neither wait nor fail. When there is no memory, the next caller tries again.
void Engine::submit_checkpoint() noexcept {
  try {
    lanes_.submit_to_checkpoint_lane(make_ready(&Engine::checkpoint_task));
    round_.note_missed(false);
  } catch (const std::bad_alloc&) {
    round_.note_missed(true);
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
  if (begins) {
    look_at_image();
    if (!is_log_whole()) return;
  }
  std::uint64_t pages = 0, first_page = 0;
  {
    DeferredCalls deferred{*this};
    if (!start_round(deferred)) return;
    const Lock lock{mutex_};
    // Reads of older versions may still read bytes from the image that this round is going to change.
    if (round_.phase() == Phase::draining && !must_wait_for_reads(deferred)) round_.enter(Phase::copying);
    if (round_.phase() != Phase::copying) return;
    pages = round_.pages();
    first_page = round_.cursor();
  }
  extend_image(pages);
  {
    const Lock lock{mutex_};
    round_.pace().begin_step(indexed_.point().position);
  }
  const std::optional<std::uint64_t> next_page = copy_step();
  if (!next_page) return finish_round();
  // So the sync at the end of the round has little left to wait for.
  image_.file_system().start_writeback(image_->file().descriptor(), first_page * page_size,
                                       (*next_page - first_page) * page_size);
  pace_round();
}

// The task does not sleep, so that a closing store need not wait for it: the next step is submitted now, or by a
// publish.
void Engine::pace_round() {
  {
    const Lock lock{mutex_};
    round_.pace().end_step();
    resume_round(round_.pace().is_alone(indexed_.point().position));
    if (!round_.pace().is_paused()) return;
  }
  image_changes_.settle();
}

/// `anyway`: nobody writes who could be disturbed.
void Engine::resume_round(bool anyway) noexcept {
  if (round_.was_missed()) return submit_checkpoint();
  const bool hurries =
      room_.wanted() || indexed_.point().cost - bound_.checkpointed().cost > options_.log_bytes / 4 * 3;
  if (round_.pace().resume(anyway || hurries)) submit_checkpoint();
}

// Reads may wait for the disk for long. Writers do not wait for a round that waits for reads: see past_log_bound().
bool Engine::must_wait_for_reads(DeferredCalls& deferred) {
  gate_.await_reads(true);
  if (!gate_.has_reads(gate_.generation() ^ 1u) || mutated(Mutation::checkpoint_past_reads)) {
    gate_.await_reads(tasks_.stopping());
    return false;
  }
  round_.wait_for_reads(true);
  call_room_waiters(deferred);
  return true;
}

bool Engine::start_round(DeferredCalls& deferred) {
  FlushQueue::Flushes flush(1);
  flush.front().for_checkpoint = true;
  Background::Ready sync = make_ready(&Engine::sync_task);
  const Lock lock{mutex_};
  if (round_.phase() == Phase::scheduled) {
    finish_entering(deferred);
    if (must_wait_for_reads(deferred)) return false;  // left over from a round that failed
    const LogPoint until = reachable_point();
    // Pages are only ever added: the pages that the oldest holder sees are those of its version.
    round_.begin(until, until.version == published().version ? published().pages : holders_.oldest()->held_pages);
    events_.checkpoint_begins();
    gate_.begin_generation(ReadGate::Change{gate_});
    if (tail_.synced().position < until.position && !mutated(Mutation::checkpoint_past_synced)) {
      round_.enter(Phase::syncing);
      flush.front().position = until.position;
      flushes_.add(flush);
      lanes_.submit_sync(std::move(sync));
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
    const ImageChanges::Change change = change_image();
    image_->grow(pages - image_->pages(), ~0ull);
  }
  // Compares sizes, since an earlier step may have grown the image and failed before it noted that.
  {
    const Lock lock{mutex_};
    if (published().image_bytes == image_->size()) return;
  }
  const std::byte* const address = image_.address();
  const Lock lock{mutex_};
  const ReadGate::Change change{gate_};
  published_.image_bytes = image_->size();
  published_.image_address = address;
}

/// Copies about checkpoint_step_bytes. Returns the page to go on with; nothing when everything is copied.
std::optional<std::uint64_t> Engine::copy_step() {
  // A hole of many pages is one call, which takes long where it frees data: so at most this many pages that may have
  // data, and then the step ends.
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
        // The hole ends before the first page that the publish under way needs.
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
    const ImageChanges::Change change = change_image();
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

// A writer may have reserved blocks of these pages while the hole was made. They are reserved again, since what it
// publishes must fit.
void Engine::refill_hole(PageRun run) {
  std::vector<PageRun> wanted;
  {
    const Lock lock{mutex_};
    wanted = reservations_.promised(run);
  }
  for (const PageRun& one : wanted) {
    const ImageChanges::Change change = change_image();
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
  if (!is_log_whole()) return;
  try {
    image_changes_.sync();
  } catch (...) {
    fail_round();
    return fail_sync();
  }
  image_changes_.settle();
  try {
    image_.check_stays();
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
    bound_.note_checkpoint(until);
    round_.let_go();
    index_memory_.forget_small();
    index_memory_.note(published().index.memory_bytes());
  }
  begin_empty_segment();
  cut_log(until.position);
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  events_.checkpoint_ended();
  round_.end();
  room_.end_round();
  bound_.reclaim_until(until.cost);  // after the files are removed: they take room until then
  faults_.forget_failed_checkpoint();
  call_room_waiters(deferred);
  consider_checkpoint();
}

/// False: the round is over, and where the log was cut nothing becomes durable any more.
bool Engine::is_log_whole() noexcept {
  try {
    check_log_whole();
    return true;
  } catch (const std::bad_alloc&) {
    fail_round();  // nothing was learned
    return false;
  } catch (...) {
    fail_round();
    fail_sync();
    return false;
  }
}

void Engine::cut_log(std::uint64_t position) {
  LogSegmentRef oldest_kept;
  bool entry_synced = true;
  bool ends = false, all = false;
  std::size_t count = 0;
  {
    const Lock lock{mutex_};
    ends = tasks_.stopping();
    const std::vector<LogSegmentRef>& segments = published().segments;
    // The last segment is appended to, so it is removed only at a clean stop.
    const std::size_t removable = segments.size() - (ends || segments.empty() ? 0 : 1);
    while (count < removable && segments[count]->end_position <= position) ++count;
    if (count == 0) return;
    all = count == segments.size();
    oldest_kept = count < segments.size() ? segments[count] : segments.back();
    // Where only one file is left, it is removed without a mark.
    if (oldest_kept == segments.front()) oldest_kept = nullptr;
    if (oldest_kept) entry_synced = oldest_kept->entry_synced;
  }
  if (all) last_session_.leave_file(log_.last_entry());
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
      image_changes_.notes().header_synced(*oldest_kept);
      // The mark is worth nothing if the file's name is lost.
      if (!entry_synced && !mutated(Mutation::drop_mark_entry_sync)) image_.folder().sync();
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
    const std::string& name = oldest->name;
    if (keeps) {
      const std::string spare = spare_name(image_.name(), oldest->number);
      const IoResult renamed = image_.folder().try_rename(name, spare);
      // On a full disk there may be no room for another name: then the file is removed.
      keeps = renamed.ok();
      if (!keeps && renamed.error != ENOSPC && renamed.error != EDQUOT)
        throw file_error(image_.file_system(), "rename " + quoted(image_.folder().path_of(name)) + " to",
                         image_.folder().path_of(spare), renamed.error);
    }
    if (!keeps) image_.folder().remove(name);
    must_sync([&] {
      if (!mutated(Mutation::drop_removal_sync)) image_.folder().sync();
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
  events_.checkpoint_failed();
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  round_.end();
  room_.end_round();
  faults_.note_failed_checkpoint();
  call_room_waiters(deferred);
}

void Engine::call_room_waiters(DeferredCalls& deferred) noexcept {
  room_.call_all(deferred.room_waiters);
  wake_commit();
}

ImageChanges::Change Engine::change_image() {
  try {
    return ImageChanges::Change{image_changes_};
  } catch (const NoteSyncError&) {
    fail_sync();
    throw;
  }
}

std::string Engine::look_at_image() {
  const ImageChanges::Look look = image_changes_.begin_look();
  // What flushes fail for comes first: that a folder was moved says less than that another has its place.
  std::string found = image_.misplaced();
  if (found.empty()) found = image_->outside_change();
  if (found.empty()) found = log_misplaced();
  if (!found.empty()) image_.names().forget();
  if (found.empty()) found = image_changes_.foreign();
  const bool is_back = is_misplaced() && find_misplaced().empty();
  const Lock lock{mutex_};
  if (is_back) note_placement({});
  return image_changes_.end_look(look, std::move(found));
}

}  // namespace pageserver::storage
