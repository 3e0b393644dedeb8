// Publishing: from a writer's request to a record in the log, and from there to a version that everybody sees.
#include <fcntl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <functional>
#include <new>
#include <utility>

#include "base/bounds.hpp"
#include "base/mutation.hpp"
#include "storage/engine/core.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {
namespace {

/// Ranges up to this size keep their bytes in memory, so that reading a page of many small changes is not many calls.
constexpr std::uint64_t small_range_bytes_max = 512;
constexpr std::uint64_t small_bytes_max = 32ull << 20;
constexpr std::uint64_t small_overhead_bytes = 64;  // of the allocator and the counters
/// A transaction of more ranges is appended on the lane, however few bytes it has.
constexpr std::size_t inline_ranges_max = 4096;
/// What one write can take, with its header: IOV_MAX is 1024.
constexpr std::size_t gathered_parts_max = 1000;

}  // namespace

void Engine::check_right_locked(const SessionState& state) const {
  if (closed_) throw MemoryError{Errc::provider_error, quoted(shown_path_) + ": the store is closed"};
  if (state.right == SessionState::Right::lease_lost && !mutated(Mutation::skip_epoch_check)) throw lost_error(state);
}

void Engine::check_growth(std::uint64_t pages, std::uint64_t new_pages) const {
  const std::uint64_t pages_max = options_.size_bytes_max / page_size;
  if (new_pages <= pages_max && pages <= pages_max - new_pages) return;
  throw MemoryError{Errc::limit_exceeded, "grow pages=" + std::to_string(pages) +
                                              " new_pages=" + std::to_string(new_pages) +
                                              " exceeds size_bytes_max=" + std::to_string(options_.size_bytes_max) +
                                              "; raise that limit or ask for less"};
}

// The size must be one that the file system can have, or a checkpoint would find out when it is too late. Asked of a
// file without a name, and only of sizes that some file systems can't have.
void Engine::check_file_size(std::uint64_t pages) {
  constexpr std::uint64_t common_size_bytes = 2ull << 30;
  const std::uint64_t bytes = pages * page_size;
  if (bytes <= std::max(std::min(common_size_bytes, file_size_limit()), possible_size_bytes_.load())) return;
  const File probe = folder_.create_unnamed(sibling_name(image_name_, Sibling::spill, 0), "create probe file");
  const IoResult result = retried([&] { return file_system_.truncate(probe.descriptor(), bytes); });
  // Linux says EINVAL, too, for a size that the file system can't have.
  if (!result.ok())
    throw file_error(file_system_, "grow to pages=" + std::to_string(pages) + " of", shown_path_,
                     result.error == EINVAL ? EFBIG : result.error);
  possible_size_bytes_ = bytes;
}

// A file may be longer than this process may make one. A checkpoint must not find out.
void Engine::check_file_limit(std::string_view action, std::uint64_t offset, std::uint64_t length) const {
  if (length == 0 || offset + length <= file_size_limit_) return;
  throw MemoryError{Errc::limit_exceeded, std::string{action} + " offset=" + std::to_string(offset) +
                                              " length=" + std::to_string(length) + " of " + quoted(shown_path_) +
                                              " ends past what a file of this process may have, ulimit -f=" +
                                              std::to_string(file_size_limit_) + " bytes; raise that limit"};
}

bool Engine::past_log_bound() const {
  // What pins and forks hold back, and reads that a checkpoint waits for, is not the writer's fault and has its own
  // bound.
  const std::uint64_t held_until = waiting_for_reads_ ? published_.cost : std::max(cleared_cost_, hold_mark_);
  return published_.cost - held_until > options_.log_bytes ||
         published_.cost - cleared_cost_ > options_.log_bytes + options_.held_bytes;
}

bool Engine::held(std::uint64_t from, std::uint64_t until) const {
  const auto within = [&](std::uint64_t version) { return from <= version && version < until; };
  if ((round_holder_ != 0 && within(round_holder_)) || (staged_over_ != 0 && within(staged_over_))) return true;
  const auto holder = holders_.lower_bound({from, 0});
  return holder != holders_.end() && holder->first.first < until;
}

void Engine::refuse_without_checkpoint() {
  if (!checkpoint_error_) return;
  const MemoryError error = *checkpoint_error_;
  consider_checkpoint();  // it may go better now; who asks again is let in
  throw error;
}

void Engine::refuse_past_bound() {
  if (!past_log_bound()) return;
  consider_checkpoint();
  throw MemoryError{Errc::limit_exceeded, "write to " + quoted(shown_path_) + ": the log holds " +
                                              std::to_string(published_.cost - cleared_cost_) +
                                              " bytes (with the memory to find them) that are not in the image yet, "
                                              "beyond limits.log_bytes=" +
                                              std::to_string(options_.log_bytes) +
                                              "; write again once the checkpoint came further"};
}

void Engine::claim_publish(const SessionState& state, bool bounded) {
  check_right_locked(state);
  if (!sync_error_.empty()) throw not_durable_error();
  refuse_without_checkpoint();
  // Who was let in is not refused: what it was let in for may have ended on another thread.
  if (bounded && std::exchange(let_in_, 0) != state.id) refuse_past_bound();
  if (publishing_) throw MemoryError{Errc::busy, "write to " + quoted(shown_path_) + ": a flush is still under way"};
  if (segments_.size() == segments_.capacity()) {
    const ReadGate::Change change{gate_};
    segments_.reserve(std::max<std::size_t>(16, 2 * segments_.size()));
  }
  if (awaiting_sync_.empty()) awaiting_sync_ = make_ready(&Engine::sync_task);
  publishing_ = true;
}

Engine::Publishing Engine::plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes) {
  // A record begins a new block also while a sync is on its way, or small records one after the other would put that
  // off again and again.
  Publishing publishing;
  publishing.new_block = sealed_position_ >= appended_.position || sync_awaits_append_ || sync_scheduled_ ||
                         payload_bytes >= options_.log_sizes.own_block_bytes_min;
  shares_block_ = !publishing.new_block;
  publishing.version = version_ + 1;
  publishing.pages = pages_ + new_pages;
  publishing.synced_position = synced_.position;
  publishing.previous_version = version_;
  publishing.previous_pages = pages_;
  publishing.image_bytes = image_bytes_;
  publishing.rounds_seen = rounds_ended_;
  return publishing;
}

void Engine::reserve_blocks(Publishing& publishing, std::span<const LogRange> ranges, std::vector<PageRun>& reserved) {
  constexpr std::size_t runs_at_once = 256;
  std::vector<PageRun> wanted = pages_with_data(ranges);
  const std::size_t count = wanted.size();
  {
    // From now on a checkpoint that makes holes leaves these pages alone, or reserves them again.
    const Lock lock{mutex_};
    if (!reservable_) return;
    publishing_pages_ = std::move(wanted);
  }
  std::vector<PageRun> missing;
  for (std::size_t at = 0; at < count;) {
    missing.clear();
    {
      const Lock lock{mutex_};
      const std::size_t stop = std::min(count, at + runs_at_once);
      for (; at < stop; ++at) reserved_pages_.missing(publishing_pages_[at], missing);
    }
    if (missing.empty()) continue;
    reserved.reserve(reserved.size() + missing.size());
    for (const PageRun& run : missing) {
      reserved.push_back(run);  // a part of what is refused may have been had
      const ImageChange change{*this};
      if (image_->file().reserve(run.first * page_size, (run.end - run.first) * page_size)) continue;
      publishing.unreservable = true;
      return;
    }
    const Lock lock{mutex_};
    for (const PageRun& run : missing) reserved_pages_.add(run);
  }
}

LogWriter::Appended Engine::append(Publishing& publishing, std::span<const LogRange> ranges,
                                   const std::function<void(std::uint64_t, std::span<std::byte>)>& data,
                                   std::span<const std::span<const std::byte>> parts) {
  // The log's room comes first: it is what a full disk refuses most often, and then the image was not touched.
  std::vector<PageRun> reserved;
  const auto reserve = [&] { reserve_blocks(publishing, ranges, reserved); };
  LogAppend record;
  record.before_write = std::ref(reserve);  // takes no memory
  record.version = publishing.version;
  record.pages = publishing.pages;
  record.synced_position = publishing.synced_position;
  record.ranges = ranges;
  record.new_block = publishing.new_block;
  record.data = data;
  record.parts = parts;
  try {
    return log_.append(record, publishing.image_bytes, publishing.previous_version, publishing.previous_pages);
  } catch (...) {
    give_back_blocks(reserved);
    throw;
  }
}

// What is a hole for the file system now, and for the index, was none of anybody's before: neither data nor the blocks
// of a publish that took effect. (Blocks that somebody reserved and nobody wrote to may go with it.) Nobody else
// publishes meanwhile, and a checkpoint writes only what the index has.
void Engine::give_back_blocks(std::span<const PageRun> reserved) noexcept {
  constexpr std::size_t ranges_max = 1024;
  if (reserved.empty()) return;
  try {
    std::vector<PageRun> unused;
    {
      const Lock lock{mutex_};
      for (const PageRun& run : reserved) {
        for (std::uint64_t page = run.first; page < run.end; ++page) {
          const std::uint64_t used = std::min(index_.next_page(page), run.end);
          if (page < used) unused.push_back({page, used});
          page = used;
        }
      }
      for (const PageRun& run : unused) reserved_pages_.remove(run);
    }
    for (const PageRun& run : unused) {
      const std::uint64_t end = std::min(run.end, image_->pages()) * page_size;
      for (std::uint64_t at = run.first * page_size; at < end;) {
        std::uint64_t until = at;
        for (const ByteRange& data : image_->data_ranges(at, end - at, ranges_max, until)) {
          give_back_hole(at, data.offset);
          at = data.offset + data.length;
        }
        give_back_hole(at, until);
        at = until;
      }
    }
    if (!unused.empty()) give_back_past_end(unused.back().end);
  } catch (const std::exception&) {
    // They stay reserved: a later publish of these pages finds them.
  }
}

void Engine::give_back_hole(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  const ImageChange change{*this};
  static_cast<void>(image_->file().punch_hole(begin, end - begin));
}

// Blocks past the end of a file go only when its size is set, and then all of them. While a round is under way, which
// may make the file longer, they stay.
void Engine::give_back_past_end(std::uint64_t end_page) {
  std::vector<PageRun> needed;
  std::uint64_t pages = 0;
  {
    const Lock lock{mutex_};
    pages = image_->pages();
    if (round_phase_ != RoundPhase::idle || end_page <= pages) return;
    reserved_pages_.common({pages, no_position}, needed);
    if (!needed.empty()) return;
    cutting_image_ = true;
  }
  const File& file = image_->file();
  FileStatus status;
  try {
    const ImageChange change{*this};
    // Of another size it is somebody else's doing.
    if (file_system_.status(file.descriptor(), status).ok() && status.size_bytes == pages * page_size)
      static_cast<void>(file_system_.truncate(file.descriptor(), pages * page_size));
  } catch (const MemoryError&) {
    // The log can't say that the image changes: the blocks stay.
  }
  const Lock lock{mutex_};
  cutting_image_ = false;
  consider_checkpoint();
}

void Engine::end_append() noexcept {
  shares_block_ = false;
  if (std::exchange(sync_awaits_append_, false)) {
    sealed_position_ = appended_.position;
    schedule_sync(std::exchange(awaiting_sync_, {}));
  }
}

void Engine::appended(const Publishing& publishing, const LogWriter::Appended& appended,
                      std::span<LoggedRange> ranges) noexcept {
  for (LoggedRange& logged : ranges)
    if (!logged.range.zero) logged.position += appended.data_position;
  if (appended.new_segment) {
    const ReadGate::Change change{gate_};
    assert(segments_.size() < segments_.capacity());
    segments_.push_back(appended.new_segment);
  }
  segments_.back()->end_position = appended.end_position;
  appended_ = {appended.end_position, publishing.version, 0};
  if (publishing.unreservable) reservable_ = false;
  end_append();
}

std::span<Engine::LoggedRange> Engine::add_to_index(std::span<LoggedRange> ranges, std::uint64_t version,
                                                    std::uint64_t entries_max) {
  constexpr std::size_t ahead = 4;  // about as many writes as one that waits for memory takes the time of
  std::uint64_t entries = 0;
  while (!ranges.empty() && entries < entries_max) {
    if (ranges.size() > 2 * ahead) index_.prefetch(ranges[2 * ahead].range.offset);
    if (ranges.size() > ahead) index_.prefetch_more(ranges[ahead].range.offset);
    LoggedRange& logged = ranges.front();
    const std::uint64_t whole = logged.range.length;
    const std::uint64_t pages_max = entries_max - entries;
    const std::uint64_t length = logged.range.zero || whole / page_size < pages_max ? whole : pages_max * page_size;
    index_.add(logged.range.offset, length, version, logged.position, logged.memory);
    entries += logged.range.zero ? 1 : length / page_size + 1;
    if (length != whole) {
      logged.range.offset += length;
      logged.range.length -= length;
      logged.position += length;
      break;
    }
    if (logged.memory) small_bytes_ += length + small_overhead_bytes;
    ranges = ranges.subspan(1);
  }
  return ranges;
}

void Engine::make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                          After& after) noexcept {
  assert(!unfinished_ && publishing.version == version_ + 1);
  if (mutated(Mutation::forget_appended) && publishing.version % 16 == 0) return;
  {
    const ReadGate::Change change{gate_};
    version_ = publishing.version;
    pages_ = publishing.pages;
    try {
      static_cast<void>(add_to_index(ranges, version_, ~0ull));
    } catch (...) {
      // Parts of it may be in the index, in the place of what the version before has there.
      unfinished_ = Unfinished{state, std::move(ranges)};
      return;
    }
  }
  note_entered(after);
}

void Engine::note_entered(After& after) noexcept {
  staged_over_ = 0;
  const std::uint64_t record_bytes_published = appended_.position - published_.position;
  published_ = {appended_.position, version_, appended_.position + index_.grown_bytes()};
  if (!holders_.empty()) hold_mark_ = published_.cost;
  evict_holders(after);
  consider_checkpoint();
  pace_bytes_ += static_cast<std::int64_t>(options_.checkpoint_pace * record_bytes_published);
  resume_round(false);
}

void Engine::finish_entering(After& after) {
  if (!unfinished_) return;
  {
    const ReadGate::Change change{gate_};
    static_cast<void>(add_to_index(unfinished_->ranges, version_, ~0ull));
    after.entered = std::move(unfinished_->state);
    unfinished_.reset();
  }
  note_entered(after);
  end_publish(after);
}

void Engine::try_to_finish_entering(After& after) noexcept {
  try {
    finish_entering(after);
  } catch (const std::bad_alloc&) {
    // See there.
  }
}

void Engine::end_visible(After& after) noexcept {
  if (!unfinished_) end_publish(after);
}

void Engine::end_publish(After& after) noexcept {
  publishing_ = false;
  end_append();  // or it failed
  publishing_pages_.clear();
  grant_next(after);
}

void Engine::give_up_publish(const Publishing& publishing) noexcept {
  After after{*this};
  const Lock lock{mutex_};
  if (publishing.unreservable) reservable_ = false;
  end_publish(after);
}

std::vector<Engine::LoggedRange> Engine::locate(
    std::span<const LogRange> ranges, bool keep_small,
    const std::function<void(std::uint64_t, std::span<std::byte>)>& data) const {
  std::vector<LoggedRange> logged;
  logged.reserve(ranges.size());
  const auto is_kept = [&](const LogRange& range) {
    return keep_small && !range.zero && range.length <= small_range_bytes_max;
  };
  // One allocation for up to so many bytes of them: who keeps one of its ranges keeps all of it.
  constexpr std::uint64_t block_bytes = 4096;
  std::shared_ptr<std::byte[]> block;
  std::uint64_t block_left = 0, block_used = 0;
  std::uint64_t kept_bytes = 0;
  for (const LogRange& range : ranges) kept_bytes += is_kept(range) ? range.length : 0;
  std::uint64_t data_offset = 0;
  for (const LogRange& range : ranges) {
    logged.push_back({range, range.zero ? no_position : data_offset, nullptr});
    if (range.zero) continue;
    if (is_kept(range)) {
      if (block_left < range.length) {
        block_left = std::clamp(kept_bytes, range.length, block_bytes);
        block_used = 0;
        block = std::make_shared_for_overwrite<std::byte[]>(block_left);
      }
      std::byte* const bytes = block.get() + block_used;
      data(data_offset, {bytes, range.length});
      logged.back().memory = std::shared_ptr<const std::byte[]>{block, bytes};
      block_left -= range.length;
      block_used += range.length;
      kept_bytes -= range.length;
    }
    data_offset += range.length;
  }
  return logged;
}

std::uint64_t Engine::publish_ranges(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                                     const Fill& fill, std::uint64_t new_pages,
                                     std::span<const std::span<const std::byte>> parts) {
  Publishing publishing;
  bool keep_small = false;
  if (new_pages != 0) {
    const std::uint64_t pages = view(*state).pages;
    check_growth(pages, new_pages);
    check_file_size(pages + new_pages);
  }
  After after{*this};
  {
    const Lock lock{mutex_};
    finish_entering(after);
    check_right_locked(*state);
    for (const LogRange& range : ranges) {
      check_bounds(action, range.offset, range.length, pages_ * page_size);
      check_file_limit(action, range.offset, range.length);
    }
    if (ranges.empty()) {
      check_growth(pages_, new_pages);
      if (new_pages == 0) return pages_;
    } else if (ranges.front().length == 0) {
      return pages_;
    }
    if (emptying_log_) {
      state->awaits_room = true;
      state->rounds_seen = rounds_ended_;
      throw MemoryError{Errc::no_space,
                        std::string{action} + " to " + quoted(shown_path_) + ": the log is being emptied; try again"};
    }
    claim_publish(*state, true);
    publishing = plan_publish(new_pages, payload_bytes_of(ranges));
    keep_small = small_bytes_ < small_bytes_max;
  }
  std::vector<LoggedRange> logged;
  LogWriter::Appended done;
  try {
    if (mutated(Mutation::publish_before_append)) {
      auto early = locate(ranges, true, fill);
      for (LoggedRange& one : early) {
        if (one.range.zero || one.memory) continue;  // there is no place in the log yet that a read could find them at
        const auto bytes = std::make_shared_for_overwrite<std::byte[]>(one.range.length);
        fill(one.position, {bytes.get(), one.range.length});
        one.memory = bytes;
      }
      const Lock lock{mutex_};
      make_visible(state, publishing, early, after);
    }
    logged = locate(ranges, keep_small, fill);
    done = append(publishing, ranges, fill, parts);
  } catch (const MemoryError& error) {
    give_up_publish(publishing);
    if (!is_no_room(error)) throw;
    throw no_room_error(state, error, payload_bytes_of(ranges), publishing.rounds_seen);
  } catch (...) {
    give_up_publish(publishing);
    throw;
  }
  const Lock lock{mutex_};
  state->room_sought = 0;
  appended(publishing, done, logged);
  if (!mutated(Mutation::publish_before_append)) make_visible(state, publishing, logged, after);
  consider_writeback();
  end_visible(after);
  return publishing.previous_pages;
}

void Engine::publish(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                     std::span<const std::byte> data) {
  const auto fill = [data](std::uint64_t offset, std::span<std::byte> buffer) {
    std::memcpy(buffer.data(), data.data() + offset, buffer.size());
  };
  publish_ranges(state, action, ranges, fill, 0, {&data, 1});
}

bool Engine::publish_together(const SessionRef& state, std::span<const StoreSession::Write> writes) {
  std::vector<StoreSession::Write> sorted{writes.begin(), writes.end()};
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::vector<LogRange> ranges;
  ranges.reserve(sorted.size());
  for (const StoreSession::Write& write : sorted) {
    const bool overlaps = !ranges.empty() && write.offset - ranges.back().offset < ranges.back().length;
    if (overlaps || write.data.empty()) return false;
    ranges.push_back({write.offset, write.data.size(), false});
  }
  // The stream is asked for in order, the small ranges' copies one by one and then the record as a whole.
  std::size_t at = 0;
  std::uint64_t stream_offset = 0;  // of sorted[at]
  const auto fill = [&](std::uint64_t offset, std::span<std::byte> buffer) {
    if (offset < stream_offset) at = stream_offset = 0;
    while (!buffer.empty()) {
      const std::span<const std::byte> data = sorted[at].data;
      if (offset - stream_offset >= data.size()) {
        stream_offset += data.size();
        ++at;
        continue;
      }
      const auto from = data.subspan(offset - stream_offset);
      const std::size_t bytes = std::min(from.size(), buffer.size());
      std::memcpy(buffer.data(), from.data(), bytes);
      buffer = buffer.subspan(bytes);
      offset += bytes;
    }
  };
  try {
    publish_ranges(state, "write", ranges, fill, 0);
  } catch (const MemoryError&) {
    return false;
  }
  return true;
}

std::uint64_t Engine::publish_grow(const SessionRef& state, std::uint64_t new_pages) {
  return publish_ranges(
      state, "grow", {}, [](std::uint64_t, std::span<std::byte>) {}, new_pages);
}

void Engine::begin_commit(const SessionRef& state) {
  Background::Ready ready = make_ready(&Engine::commit_task);
  {
    After after{*this};
    const Lock lock{mutex_};
    finish_entering(after);
    claim_publish(*state, false);
    if (emptying_log_) {
      commit_waiting_ = state;
      commit_ready_ = std::move(ready);
      return;
    }
    if (state->bytes->bytes() > options_.inline_commit_bytes || state->bytes->range_count() > inline_ranges_max) {
      // Others on this thread don't wait for it. It is on the way: the next lease comes after it.
      commit_waiting_ = state;
      sync_lane_.submit_ready(std::move(ready));
      return;
    }
  }
  append_commit(state);
}

void Engine::commit_task() noexcept {
  SessionRef state;
  {
    const Lock lock{mutex_};
    state = std::exchange(commit_waiting_, nullptr);
  }
  try {
    append_commit(state);
  } catch (...) {
    state->callbacks.run_done(std::current_exception());
  }
}

void Engine::append_commit(const SessionRef& state) {
  for (;;) {
    Publishing publishing;
    try {
      return try_to_append_commit(state, publishing);
    } catch (const MemoryError& error) {
      std::exception_ptr failure = std::current_exception();
      try {
        if (is_no_room(error)) {
          failure = std::make_exception_ptr(no_room_error(state, error, state->bytes->bytes(), publishing.rounds_seen));
          const CommitRoom room = commit_waits_for_room(state, publishing);
          if (room == CommitRoom::now) continue;
          if (room == CommitRoom::later) return;
        }
      } catch (const std::bad_alloc&) {
        // What was thrown first says enough.
      }
      give_up_publish(publishing);
      std::rethrow_exception(failure);
    } catch (...) {
      give_up_publish(publishing);
      throw;
    }
  }
}

// It stays on the way meanwhile: nobody else publishes.
Engine::CommitRoom Engine::commit_waits_for_room(const SessionRef& state, const Publishing& publishing) {
  Background::Ready ready;
  try {
    ready = make_ready(&Engine::commit_task);
  } catch (const std::bad_alloc&) {
    return CommitRoom::none;
  }
  const Lock lock{mutex_};
  // A session that is gone need not be waited for.
  if (!std::exchange(state->awaits_room, false) || !state->counted || stopping_) return CommitRoom::none;
  if (publishing.unreservable) reservable_ = false;
  publishing_pages_.clear();
  end_append();
  if (!room_wanted_ || rounds_ended_ != publishing.rounds_seen) return CommitRoom::now;
  commit_waiting_ = state;
  commit_ready_ = std::move(ready);
  return CommitRoom::later;
}

void Engine::wake_commit() noexcept {
  // While the log goes on in a segment of its own nobody else may append. The end of that round comes here again.
  if (!emptying_log_ && !commit_ready_.empty()) sync_lane_.submit_ready(std::exchange(commit_ready_, {}));
}

void Engine::try_to_append_commit(const SessionRef& state, Publishing& publishing) {
  std::list<Flush> flush;
  flush.emplace_back();
  flush.front().state = state;
  Background::Ready sync = make_ready(&Engine::sync_task);
  const std::vector<LogRange> ranges = state->bytes->ranges();
  bool keep_small = false;
  {
    const Lock lock{mutex_};
    check_right_locked(*state);
    if (!sync_error_.empty()) throw not_durable_error();
    if (awaiting_sync_.empty()) awaiting_sync_ = make_ready(&Engine::sync_task);
    publishing = plan_publish(state->private_pages, state->bytes->bytes());
    keep_small = small_bytes_ < small_bytes_max;
  }
  // The stream of data is that of the non-zero ranges, one after the other.
  std::vector<std::uint64_t> starts;
  std::vector<LogRange> data_ranges;
  std::uint64_t data_bytes = 0;
  for (const LogRange& range : ranges) {
    if (range.zero) continue;
    starts.push_back(data_bytes);
    data_ranges.push_back(range);
    data_bytes += range.length;
  }
  const auto fill = [&](std::uint64_t offset, std::span<std::byte> buffer) {
    auto at = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), offset) - starts.begin()) - 1;
    while (!buffer.empty()) {
      const std::uint64_t within = offset - starts[at];
      const std::uint64_t bytes = std::min<std::uint64_t>(buffer.size(), data_ranges[at].length - within);
      state->bytes->read_over(data_ranges[at].offset + within, buffer.first(bytes));
      buffer = buffer.subspan(bytes);
      offset += bytes;
      ++at;
    }
  };
  std::vector<LoggedRange> logged = locate(ranges, keep_small, fill);
  const auto parts = state->bytes->parts(ranges, gathered_parts_max);
  const auto done = append(publishing, ranges, fill, parts);
  {
    const Lock lock{mutex_};
    state->room_sought = 0;
    appended(publishing, done, logged);
    flush.front().commit = Commit{publishing, std::move(logged)};
    if (!sync_error_.empty()) throw not_durable_error();  // since the append began: no sync comes any more
    flush.front().position = appended_.position;
    flush.front().version = publishing.version;
    flushes_.splice(flushes_.end(), flush);
  }
  schedule_sync(std::move(sync));
}

void Engine::flush(const SessionRef& state, StoreSession::Done done) {
  state->callbacks.set_done(std::move(done));
  std::exception_ptr error;
  Version version;
  try {
    if (state->is_private()) return begin_commit(state);
    bool waits = false;
    {
      const Lock lock{mutex_};
      check_right_locked(*state);
      if (!sync_error_.empty()) throw not_durable_error();
      version = {incarnation_, version_};
      waits = synced_.position < appended_.position;
    }
    if (waits) {
      std::list<Flush> flush(1);
      flush.front().state = state;
      Background::Ready sync = make_ready(&Engine::sync_task);
      {
        const Lock lock{mutex_};
        if (!sync_error_.empty()) throw not_durable_error();
        flush.front().position = appended_.position;
        flush.front().version = version_;
        flushes_.splice(flushes_.end(), flush);
      }
      return schedule_sync(std::move(sync));
    }
  } catch (...) {
    error = std::current_exception();
  }
  state->callbacks.run_done(error, version);
}

bool Engine::may_write(const SessionRef& state, std::function<void()> room) {
  // Before the engine's mutex, which a callback that runs may want.
  state->callbacks.set_room(std::move(room));
  const Lock lock{mutex_};
  state->awaits_room = false;
  // Who would be refused for another reason shall ask and be told.
  if (!past_log_bound() || checkpoint_error_ || !sync_error_.empty() || closed_ ||
      state->right != SessionState::Right::whole) {
    let_in_ = state->id;
    return true;
  }
  rooms_[state->id] = state;
  consider_checkpoint();
  return false;
}

}  // namespace pageserver::storage
