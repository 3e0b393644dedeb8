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
#include "storage/engine/engine.hpp"
#include "storage/file/file_size_limit.hpp"
#include "storage/file/mutation.hpp"
#include "storage/file/siblings.hpp"

namespace pageserver::storage {
void Engine::check_open(const Published& published) const {
  if (published.closed) throw MemoryError{Errc::provider_error, quoted(image_.shown_path()) + ": the store is closed"};
}

void Engine::check_right(const Published& published, const SessionState& state) const {
  home_.check_may_answer();
  check_open(published);
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

bool Engine::past_log_bound() const { return bound_.is_passed(indexed_.point().cost, round_.waits_for_reads()); }

bool Engine::held(std::uint64_t from, std::uint64_t until) const {
  return indexed_.is_staged_within(from, until) || round_.holds_within(from, until) || holders_.any_within(from, until);
}

void Engine::refuse_without_checkpoint() {
  if (faults_.checkpoint_error() == nullptr) return;
  const MemoryError error = *faults_.checkpoint_error();
  consider_checkpoint();  // tries again: if it succeeds, the next publish is accepted
  throw error;
}

void Engine::refuse_past_bound() {
  if (!past_log_bound()) return;
  consider_checkpoint();
  throw MemoryError{Errc::limit_exceeded, "write to " + quoted(image_.shown_path()) + ": the log holds " +
                                              std::to_string(bound_.unreclaimed(indexed_.point().cost)) +
                                              " bytes (with the memory to find them) that are not in the image yet, "
                                              "beyond limits.log_bytes=" +
                                              std::to_string(options_.log_bytes) +
                                              "; write again once the checkpoint came further"};
}

void Engine::claim_publish(const SessionState& state, bool bounded) {
  check_right(published(), state);
  faults_.check_durable();
  refuse_without_checkpoint();
  // may_write() has admitted this session already: the bound is not checked again.
  if (bounded && !room_.take_admission(state)) refuse_past_bound();
  if (publishing_)
    throw MemoryError{Errc::busy, "write to " + quoted(image_.shown_path()) + ": a flush is still under way"};
  if (published().segments.size() == published().segments.capacity()) {
    const ReadGate::Change change{gate_};
    published_.segments.reserve(std::max<std::size_t>(16, 2 * published_.segments.size()));
  }
  if (!tail_.has_sync_ready()) tail_.set_sync_ready(make_ready(&Engine::sync_task));
  publishing_ = true;
}

Publishing Engine::plan_publish(std::uint64_t new_pages, std::uint64_t payload_bytes) {
  const Published& now = published();
  Publishing publishing;
  publishing.new_block =
      tail_.begin_record(lanes_.sync_scheduled() || payload_bytes >= options_.log_sizes.own_block_bytes_min);
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
  // The image's blocks are reserved once the log has room: a full disk mostly refuses that, and the image is untouched
  // then.
  std::vector<PageRun> reserved;
  const auto reserve = [&] { reserve_blocks(publishing, ranges, reserved); };
  LogAppend record;
  if (!publishing.has_blocks) record.before_write = std::ref(reserve);  // a reference, since a copy could take memory
  record.version = publishing.version;
  record.pages = publishing.pages;
  record.synced_position = publishing.synced_position;
  record.ranges = ranges;
  record.entry = publishing.entry;
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
  if (!sync.empty()) lanes_.submit_sync(std::move(sync));
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

// Zeros replace the entries that are there, so the number of those bounds the work.
std::uint64_t Engine::length_within(const LogRange& zeros, std::uint64_t entries_max) const {
  if (entries_max > std::numeric_limits<std::size_t>::max() / 2) return zeros.length;
  const std::uint64_t end = (zeros.offset + zeros.length + page_size - 1) / page_size;
  const std::uint64_t reached =
      published().index.reach(zeros.offset / page_size, end, static_cast<std::size_t>(entries_max));
  return reached >= end ? zeros.length : reached * page_size - zeros.offset;
}

std::span<LoggedRange> Engine::add_to_index(std::span<LoggedRange> ranges, std::uint64_t version,
                                            std::uint64_t entries_max) {
  constexpr std::size_t ahead =
      4;  // an entry's memory is fetched this many writes ahead: about the time of a cache miss
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
    published_.recent.note(logged.range.offset / page_size, (logged.range.offset + length - 1) / page_size, version);
    entries += logged.range.zero ? 1 : length / page_size + 1;
    if (length != whole) {
      logged.range.offset += length;
      logged.range.length -= length;
      if (!logged.range.zero) logged.position += length;
      break;
    }
    if (logged.memory) index_memory_.add_small(length);
    ranges = ranges.subspan(1);
  }
  return ranges;
}

void Engine::make_visible(const SessionRef& state, const Publishing& publishing, std::vector<LoggedRange>& ranges,
                          DeferredCalls& deferred) noexcept {
  assert(!published().unfinished && publishing.version == published().version + 1);
  if (mutated(Mutation::forget_appended) && publishing.version % 16 == 0) return;
  {
    const ReadGate::Change change{gate_};
    published_.version = publishing.version;
    published_.pages = publishing.pages;
    try {
      static_cast<void>(add_to_index(ranges, publishing.version, ~0ull));
    } catch (...) {
      // A part of the ranges may be in the index, where it has replaced pieces of the version before.
      published_.unfinished = Published::Unfinished{state, std::move(ranges)};
      return;
    }
  }
  note_entered(deferred);
}

void Engine::note_entered(DeferredCalls& deferred) noexcept {
  const std::uint64_t end = tail_.appended().position;
  const std::uint64_t record_bytes = end - indexed_.point().position;
  indexed_.enter({end, published().version, end + published().index.grown_bytes()});
  if (!holders_.empty()) bound_.hold_back(indexed_.point().cost);
  index_memory_.note(published().index.memory_bytes());
  evict_holders(deferred);
  consider_checkpoint();
  round_.pace().appended(record_bytes);
  resume_round(false);
}

void Engine::finish_entering(DeferredCalls& deferred) {
  if (!published().unfinished) return;
  {
    const ReadGate::Change change{gate_};
    static_cast<void>(add_to_index(published_.unfinished->ranges, published_.version, ~0ull));
    deferred.entered = std::move(published_.unfinished->state);
    published_.unfinished.reset();
  }
  note_entered(deferred);
  end_publish(deferred);
}

void Engine::try_to_finish_entering(DeferredCalls& deferred) noexcept {
  try {
    finish_entering(deferred);
  } catch (const std::bad_alloc&) {
    // The next call tries again.
  }
}

void Engine::end_visible(DeferredCalls& deferred) noexcept {
  if (!published().unfinished) end_publish(deferred);
}

void Engine::end_publish(DeferredCalls& deferred) noexcept {
  publishing_ = false;
  end_append();  // where the append failed; else it has no effect
  reservations_.end_publish();
  grant_next(deferred);
}

void Engine::give_up_publish(const Publishing& publishing) noexcept {
  DeferredCalls deferred{*this};
  const Lock lock{mutex_};
  if (publishing.unreservable) reservations_.give_up();
  end_publish(deferred);
}

std::uint64_t Engine::publish_ranges(const SessionRef& state, std::string_view action, std::span<const LogRange> ranges,
                                     const Fill& fill, std::uint64_t new_pages,
                                     std::span<const std::span<const std::byte>> parts, bool even_nothing) {
  Publishing publishing;
  bool keep_small = false;
  if (is_misplaced()) check_placement(std::string{action} + " to");
  if (new_pages != 0) {
    const std::uint64_t pages = view(*state).pages;
    check_growth(pages, new_pages);
    check_file_size(pages + new_pages);
  }
  DeferredCalls deferred{*this};
  {
    const Lock lock{mutex_};
    finish_entering(deferred);
    check_right(published(), *state);
    const std::uint64_t pages = published().pages;
    for (const LogRange& range : ranges) {
      base::check_bounds(action, range.offset, range.length, pages * page_size);
      check_file_limit(action, range.offset, range.length);
    }
    if (ranges.empty()) {
      check_growth(pages, new_pages);
      if (new_pages == 0 && !even_nothing) return pages;
    } else if (ranges.front().length == 0) {
      return pages;
    }
    if (room_.emptying()) {
      state->awaits_room = true;
      state->rounds_seen = room_.rounds_ended();
      throw MemoryError{Errc::no_space, std::string{action} + " to " + quoted(image_.shown_path()) +
                                            ": the log is being emptied; try again"};
    }
    claim_publish(*state, true);
    publishing = plan_publish(new_pages, payload_bytes_of(ranges));
    publishing.entry = state->entry_view();
    // Mostly nothing is left to be reserved, which is said without another look.
    if (ranges.size() == 1 && !ranges.front().zero)
      publishing.has_blocks = reservations_.try_begin_publish(pages_of(ranges.front()));
    keep_small = index_memory_.keeps_small();
  }
  std::vector<LoggedRange> logged;
  LogWriter::Appended done;
  try {
    if (mutated(Mutation::publish_before_append)) {
      std::vector<LoggedRange> early = locator_.locate(ranges, true, fill);
      for (LoggedRange& one : early) {
        if (one.range.zero || one.memory) continue;  // the others have no place in the log yet: they go into memory
        const auto bytes = std::make_shared_for_overwrite<std::byte[]>(one.range.length);
        fill(one.position, {bytes.get(), one.range.length});
        one.memory = bytes;
      }
      const Lock lock{mutex_};
      make_visible(state, publishing, early, deferred);
    }
    logged = locator_.locate(ranges, keep_small, fill);
    done = append(publishing, ranges, fill, parts);
  } catch (const MemoryError& error) {
    give_up_publish(publishing);
    if (!is_no_room(error)) throw;
    throw no_room_error(state, error, payload_bytes_of(ranges), publishing.rounds_seen);
  } catch (...) {
    give_up_publish(publishing);
    throw;
  }
  Lock lock{mutex_};
  state->room_sought = 0;
  state->entry_published = !publishing.entry.empty();
  appended(publishing, done, logged);
  const bool takes_long =
      logged.size() == 1 && logged.front().range.zero &&
      length_within(logged.front().range, options_.index_entries_at_once) < logged.front().range.length;
  if (takes_long) {
    indexed_.stage_above(published().version);
    lock.unlock();
    stage(logged, publishing.version);
    lock.lock();
  }
  if (!mutated(Mutation::publish_before_append)) make_visible(state, publishing, logged, deferred);
  locator_.take_back(logged);
  consider_writeback();
  end_visible(deferred);
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
  // The stream is read twice, each time with rising offsets: for the copies of small ranges, and for the record.
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

void Engine::publish_remembered(const SessionRef& state) {
  publish_ranges(
      state, "open", {}, [](std::uint64_t, std::span<std::byte>) {}, 0, {}, true);
}

std::uint64_t Engine::publish_grow(const SessionRef& state, std::uint64_t new_pages) {
  return publish_ranges(
      state, "grow", {}, [](std::uint64_t, std::span<std::byte>) {}, new_pages);
}

}  // namespace pageserver::storage
