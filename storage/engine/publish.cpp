// Publishing: from a writer's request to a record in the log, and from there to a version that everybody sees.
#include <fcntl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <functional>
#include <limits>
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

}  // namespace

void Engine::check_right(const Published& published, const SessionState& state) const {
  if (published.closed) throw MemoryError{Errc::provider_error, quoted(shown_path_) + ": the store is closed"};
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
  // Who grows often, page by page, is not to make a file each time: twice the size will mostly do as well.
  const std::uint64_t ahead = std::min(2 * bytes, std::min(options_.size_bytes_max, file_size_limit_));
  if (ahead > bytes && retried([&] { return file_system_.truncate(probe.descriptor(), ahead); }).ok()) {
    possible_size_bytes_ = ahead;
    return;
  }
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

bool Engine::past_log_bound() const { return bound_.is_passed(entered_.cost, waiting_for_reads_); }

bool Engine::held(std::uint64_t from, std::uint64_t until) const {
  const bool staged = staged_over_ != 0 && from <= staged_over_ && staged_over_ < until;
  return staged || round_.holds_within(from, until) || holders_.any_within(from, until);
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
                                              std::to_string(bound_.uncleared(entered_.cost)) +
                                              " bytes (with the memory to find them) that are not in the image yet, "
                                              "beyond limits.log_bytes=" +
                                              std::to_string(options_.log_bytes) +
                                              "; write again once the checkpoint came further"};
}

void Engine::claim_publish(const SessionState& state, bool bounded) {
  check_right(published(), state);
  if (!sync_error_.empty()) throw not_durable_error();
  refuse_without_checkpoint();
  // Who was let in is not refused: what it was let in for may have ended on another thread.
  if (bounded && !room_.take_let_in(state)) refuse_past_bound();
  if (publishing_) throw MemoryError{Errc::busy, "write to " + quoted(shown_path_) + ": a flush is still under way"};
  if (published().segments.size() == published().segments.capacity()) {
    const ReadGate::Change change{gate_};
    published_.segments.reserve(std::max<std::size_t>(16, 2 * published_.segments.size()));
  }
  if (!tail_.has_sync_ready()) tail_.set_sync_ready(make_ready(&Engine::sync_task));
  publishing_ = true;
}

Engine::Publishing Engine::plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes) {
  const Published& now = published();
  Publishing publishing;
  publishing.new_block = tail_.begin_record(sync_scheduled_ || payload_bytes >= options_.log_sizes.own_block_bytes_min);
  publishing.version = now.version + 1;
  publishing.pages = now.pages + new_pages;
  publishing.synced_position = tail_.synced().position;
  publishing.previous_version = now.version;
  publishing.previous_pages = now.pages;
  publishing.image_bytes = now.image_bytes;
  publishing.rounds_seen = room_.rounds_ended();
  return publishing;
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

void Engine::end_append() noexcept {
  Background::Ready sync = tail_.end_record();
  if (!sync.empty()) schedule_sync(std::move(sync));
}

void Engine::appended(const Publishing& publishing, const LogWriter::Appended& appended,
                      std::span<LoggedRange> ranges) noexcept {
  for (LoggedRange& logged : ranges)
    if (!logged.range.zero) logged.position += appended.data_position;
  if (appended.new_segment) {
    const ReadGate::Change change{gate_};
    assert(published_.segments.size() < published_.segments.capacity());
    published_.segments.push_back(appended.new_segment);
  }
  published().segments.back()->end_position = appended.end_position;
  tail_.append({appended.end_position, publishing.version, 0});
  if (publishing.unreservable) reservations_.give_up();
  end_append();
}

// What zeros take is what was there.
std::uint64_t Engine::length_within(const LogRange& zeros, std::uint64_t entries_max) const {
  if (entries_max > std::numeric_limits<std::size_t>::max() / 2) return zeros.length;
  const std::uint64_t end = (zeros.offset + zeros.length + page_size - 1) / page_size;
  const std::uint64_t reached =
      published().index.reach(zeros.offset / page_size, end, static_cast<std::size_t>(entries_max));
  return reached >= end ? zeros.length : reached * page_size - zeros.offset;
}

std::span<LoggedRange> Engine::add_to_index(std::span<LoggedRange> ranges, std::uint64_t version,
                                            std::uint64_t entries_max) {
  constexpr std::size_t ahead = 4;  // about as many writes as one that waits for memory takes the time of
  std::uint64_t entries = 0;
  while (!ranges.empty() && entries < entries_max) {
    if (ranges.size() > 2 * ahead) published_.index.prefetch(ranges[2 * ahead].range.offset);
    if (ranges.size() > ahead) published_.index.prefetch_more(ranges[ahead].range.offset);
    LoggedRange& logged = ranges.front();
    const std::uint64_t whole = logged.range.length;
    const std::uint64_t pages_max = entries_max - entries;
    std::uint64_t length = whole;
    if (logged.range.zero)
      length = std::min(whole, length_within(logged.range, pages_max));
    else if (whole / page_size >= pages_max)
      length = pages_max * page_size;
    published_.index.add(logged.range.offset, length, version, logged.position, logged.memory);
    entries += logged.range.zero ? 1 : length / page_size + 1;
    if (length != whole) {
      logged.range.offset += length;
      logged.range.length -= length;
      if (!logged.range.zero) logged.position += length;
      break;
    }
    if (logged.memory) small_bytes_ += length + small_overhead_bytes;
    ranges = ranges.subspan(1);
  }
  return ranges;
}

void Engine::make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                          After& after) noexcept {
  assert(!published().unfinished && publishing.version == published().version + 1);
  if (mutated(Mutation::forget_appended) && publishing.version % 16 == 0) return;
  {
    const ReadGate::Change change{gate_};
    published_.version = publishing.version;
    published_.pages = publishing.pages;
    try {
      static_cast<void>(add_to_index(ranges, publishing.version, ~0ull));
    } catch (...) {
      // Parts of it may be in the index, in the place of what the version before has there.
      published_.unfinished = Published::Unfinished{state, std::move(ranges)};
      return;
    }
  }
  note_entered(after);
}

void Engine::note_entered(After& after) noexcept {
  staged_over_ = 0;
  const std::uint64_t end = tail_.appended().position;
  const std::uint64_t record_bytes = end - entered_.position;
  entered_ = {end, published().version, end + published().index.grown_bytes()};
  if (!holders_.empty()) bound_.hold_back(entered_.cost);
  evict_holders(after);
  consider_checkpoint();
  pace_.appended(record_bytes);
  resume_round(false);
}

void Engine::finish_entering(After& after) {
  if (!published().unfinished) return;
  {
    const ReadGate::Change change{gate_};
    static_cast<void>(add_to_index(published_.unfinished->ranges, published_.version, ~0ull));
    after.entered = std::move(published_.unfinished->state);
    published_.unfinished.reset();
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
  if (!published().unfinished) end_publish(after);
}

void Engine::end_publish(After& after) noexcept {
  publishing_ = false;
  end_append();  // or it failed
  reservations_.end_publish();
  grant_next(after);
}

void Engine::give_up_publish(const Publishing& publishing) noexcept {
  After after{*this};
  const Lock lock{mutex_};
  if (publishing.unreservable) reservations_.give_up();
  end_publish(after);
}

bool Engine::keeps_small() const noexcept { return small_bytes_ < small_bytes_max; }

std::vector<LoggedRange> Engine::locate(std::span<const LogRange> ranges, bool keep_small,
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
  if (is_misplaced_) check_placement(std::string{action} + " to");
  if (new_pages != 0) {
    const std::uint64_t pages = view(*state).pages;
    check_growth(pages, new_pages);
    check_file_size(pages + new_pages);
  }
  After after{*this};
  {
    const Lock lock{mutex_};
    finish_entering(after);
    check_right(published(), *state);
    const std::uint64_t pages = published().pages;
    for (const LogRange& range : ranges) {
      check_bounds(action, range.offset, range.length, pages * page_size);
      check_file_limit(action, range.offset, range.length);
    }
    if (ranges.empty()) {
      check_growth(pages, new_pages);
      if (new_pages == 0) return pages;
    } else if (ranges.front().length == 0) {
      return pages;
    }
    if (room_.emptying()) {
      state->awaits_room = true;
      state->rounds_seen = room_.rounds_ended();
      throw MemoryError{Errc::no_space,
                        std::string{action} + " to " + quoted(shown_path_) + ": the log is being emptied; try again"};
    }
    claim_publish(*state, true);
    publishing = plan_publish(new_pages, payload_bytes_of(ranges));
    keep_small = keeps_small();
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
  bool takes_long = false;
  {
    const Lock lock{mutex_};
    state->room_sought = 0;
    appended(publishing, done, logged);
    takes_long = logged.size() == 1 && logged.front().range.zero &&
                 length_within(logged.front().range, options_.index_entries_at_once) < logged.front().range.length;
    if (takes_long) staged_over_ = published().version;
  }
  if (takes_long) stage(logged, publishing.version);
  const Lock lock{mutex_};
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

}  // namespace pageserver::storage
