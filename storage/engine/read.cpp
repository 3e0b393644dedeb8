// Reading: a short section plans where the bytes of a version are (ReadPlan), and files are read after it.
#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "base/bounds.hpp"
#include "storage/engine/engine.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {

SessionView Engine::view(const SessionState& state) {
  const ReadGate::Look look{gate_};
  check_right(published_, state);
  return seen_by(published_, state);
}

SessionView Engine::seen_by(const Published& published, const SessionState& state) const {
  if (state.holds()) return {{incarnation_, state.held.version}, state.held_pages};
  return {{incarnation_, published.version}, published.pages};
}

void Engine::check_may_read(const Published& published, const SessionState& state) const {
  check_right(published, state);
  if (state.right == SessionState::Right::version_given_up) throw lost_error(state);
}

void Engine::check_readable(const SessionState& state) {
  const ReadGate::Look look{gate_};
  check_may_read(published_, state);
}

void Engine::end_read(const ReadGate::Read& read) noexcept {
  if (!gate_.end_read(read)) return;
  const Lock lock{mutex_};
  tasks_.notify();
  if (!round_.waits_for_reads() || gate_.has_reads(gate_.generation() ^ 1u)) return;
  round_.wait_for_reads(false);
  gate_.await_reads(tasks_.stopping());
  submit_checkpoint();
}

namespace {

/// Calls `end` when it is destroyed, however the block is left.
template <class End>
struct OnExit {
  End end;
  ~OnExit() { end(); }
};
template <class End>
OnExit(End) -> OnExit<End>;  // clang 14 has no deduction for aggregates

}  // namespace

void Engine::read(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer) {
  ReadPlan plan;
  ReadGate::Read reading;
  bool all_in_image = false;
  bool wants_checkpoint = false;
  const std::uint64_t first = offset / page_size;
  const std::uint64_t last = (offset + buffer.size() - 1) / page_size;
  const auto check = [&](const Published& published) {
    check_may_read(published, state);
    base::check_bounds("read", offset, buffer.size(), seen_by(published, state).pages * page_size);
  };
  const auto begin = [&](const Published& published, const auto& looking) {
    plan.look_at_image(published);
    if (!all_in_image) {
      plan.add(published, seen_by(published, state).version.number, offset, buffer);
      wants_checkpoint = plan.crowded();
      if (plan.reads_log() && log_reads_.count(published.index.piece_count())) wants_checkpoint = true;
    }
    reading = gate_.begin_read(looking);
  };
  bool settled = false;
  {
    const ReadGate::Look look{gate_};
    check(published_);
    if (buffer.empty()) return;
    if (!published_.unfinished) {
      all_in_image = !published_.index.touches(first, last);  // the common case, for which no plan is made
      if (mutated(Mutation::map_past_log) && published_.image_address != nullptr) all_in_image = true;
      settled = all_in_image || published_.index.is_merged(first, last);
    }
    if (settled) begin(published_, look);
  }
  if (!settled) {
    DeferredCalls deferred{*this};
    const Lock lock{mutex_};
    finish_entering(deferred);
    const ReadGate::Change change{gate_};
    check(published_);
    published_.index.merge_recent(first, last);
    begin(published_, change);
  }
  const OnExit exit{[&] { end_read(reading); }};
  if (wants_checkpoint) {
    const Lock lock{mutex_};
    log_reads_.want_checkpoint();
    consider_checkpoint();
  }
  run_read_planned();
  File::Deadline deadline;
  if (home_.calls() != nullptr) deadline = std::chrono::steady_clock::now() + options_.home_timeout;
  if (all_in_image)
    plan.read_image(image_->file(), offset, buffer, deadline);
  else
    plan.run(image_->file(), buffer, deadline);
}

// What has pieces in the log is not fetched from the image: mostly they are all that is wanted of the page.
void Engine::will_read(std::span<const ByteRange> ranges) noexcept {
  try {
    std::vector<FileRange> in_image;
    in_image.reserve(ranges.size());
    {
      const ReadGate::Look look{gate_};
      for (const ByteRange& range : ranges) {
        if (range.length == 0 || range.offset >= published_.image_bytes) continue;
        const std::uint64_t length = std::min(range.length, published_.image_bytes - range.offset);
        if (!published_.index.touches(range.offset / page_size, (range.offset + length - 1) / page_size))
          in_image.push_back({range.offset, length});
      }
    }
    if (!in_image.empty()) home_.will_read(in_image);
  } catch (const std::bad_alloc&) {
    // They are fetched when they are read.
  }
}

void Engine::read_below(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer) {
  const std::uint64_t published = view(state).pages * page_size;
  const std::uint64_t below = offset < published ? std::min<std::uint64_t>(published - offset, buffer.size()) : 0;
  if (below != 0) read(state, offset, buffer.first(below));
  std::memset(buffer.data() + below, 0, buffer.size() - below);
}

std::vector<ByteRange> Engine::data_ranges(const SessionState& state, std::uint64_t offset, std::uint64_t length,
                                           std::size_t ranges_max, std::uint64_t& described_until) {
  // These bounds keep readers from waiting long for the gate, and other sessions for this thread.
  constexpr std::size_t pieces_max = 4096;
  constexpr std::size_t image_ranges_max = 256;
  struct Logged {
    std::uint64_t begin, end;
    bool zero;
  };
  std::vector<Logged> logged;
  std::uint64_t end = offset + length;
  std::uint64_t image_bytes = 0;
  ReadGate::Read read;
  {
    DeferredCalls deferred{*this};
    const Lock lock{mutex_};
    finish_entering(deferred);
    const ReadGate::Change change{gate_};
    check_may_read(published_, state);
    const SessionView seen = seen_by(published_, state);
    base::check_bounds("data_ranges", offset, length, seen.pages * page_size);
    const std::uint64_t version = seen.version.number;
    LogIndex& index = published_.index;
    std::vector<Piece> pieces;
    std::uint64_t next = 0;
    // Pages of which this session sees nothing count as well, since looking at them takes time.
    std::size_t pages = 0;
    for (std::uint64_t page = index.next_page(offset / page_size); page != no_position && page * page_size < end;
         page = index.next_page(next)) {
      next = index.alike_until(page);
      if (++pages > pieces_max || logged.size() > pieces_max) {
        end = std::max(offset, page * page_size);
        break;
      }
      pieces.clear();
      index.pieces_at(page, version, 0, static_cast<std::uint32_t>(page_size), pieces);
      for (const Piece& piece : pieces) {
        const std::uint64_t begin = std::max(offset, page * page_size + piece.begin);
        const std::uint64_t stop = std::min(end, (next - 1) * page_size + piece.end);
        if (begin < stop) logged.push_back({begin, stop, piece.zero()});
      }
    }
    image_bytes = published_.image_bytes;
    read = gate_.begin_read(change);
  }
  std::vector<ByteRange> image;
  {
    const OnExit exit{[&] { end_read(read); }};
    run_read_planned();
    const std::uint64_t in_file = std::min(end, image_bytes);
    image = image_->file().data_ranges(offset, in_file, std::min(ranges_max, image_ranges_max), described_until);
    if (described_until == in_file) described_until = end;  // past the file's end there is no data
  }
  end = described_until;

  // Merges both: the image's ranges where the log has nothing, and the log's own data.
  std::vector<ByteRange> ranges;
  const auto add = [&](std::uint64_t begin, std::uint64_t stop) {
    if (begin >= stop) return;
    if (!ranges.empty() && ranges.back().offset + ranges.back().length >= begin)
      ranges.back().length = std::max(ranges.back().offset + ranges.back().length, stop) - ranges.back().offset;
    else
      ranges.push_back({begin, stop - begin});
  };
  auto from = image.begin();
  const auto add_image = [&](std::uint64_t begin, std::uint64_t stop) {
    while (from != image.end() && from->offset + from->length <= begin) ++from;
    for (auto at = from; at != image.end() && at->offset < stop; ++at)
      add(std::max(begin, at->offset), std::min(stop, at->offset + at->length));
  };
  std::uint64_t at = offset;
  for (const Logged& piece : logged) {
    if (piece.begin >= end) break;
    add_image(at, piece.begin);
    if (!piece.zero) add(piece.begin, std::min(piece.end, end));
    at = piece.end;
  }
  if (at < end) add_image(at, end);
  described_until = end;
  if (ranges.size() > ranges_max) {
    described_until = ranges[ranges_max].offset;
    ranges.resize(ranges_max);
  }
  return ranges;
}

}  // namespace pageserver::storage
