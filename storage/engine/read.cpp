// Reading: what a version consists of is decided in one short section, files are read after it.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bounds.hpp"
#include "base/mutation.hpp"
#include "storage/engine/core.hpp"

namespace pageserver::storage {

SessionView Engine::view(const SessionState& state) {
  const ReadGate::Look look{gate_};
  check_right_locked(state);
  return seen_by(state);
}

SessionView Engine::seen_by(const SessionState& state) const {
  if (state.holds()) return {{incarnation_, state.held_version}, state.held_pages};
  return {{incarnation_, version_}, pages_};
}

void Engine::check_readable_locked(const SessionState& state) const {
  check_right_locked(state);
  if (state.right == SessionState::Right::version_given_up) throw lost_error(state);
}

void Engine::check_readable(const SessionState& state) {
  const ReadGate::Look look{gate_};
  check_readable_locked(state);
}

void Engine::end_read(const ReadGate::Read& read) noexcept {
  if (!gate_.end_read(read)) return;
  const Lock lock{mutex_};
  idle_.notify_all();
  if (!waiting_for_reads_ || gate_.has_reads(gate_.generation() ^ 1u)) return;
  waiting_for_reads_ = false;
  gate_.await_reads(stopping_);
  submit_checkpoint();
}

namespace {

/// Ends a read that was begun, whatever happens.
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
  bool all_in_image = false;
  const std::uint64_t first = offset / page_size;
  const std::uint64_t last = (offset + buffer.size() - 1) / page_size;
  const auto check = [&] {
    check_readable_locked(state);
    check_bounds("read", offset, buffer.size(), seen_by(state).pages * page_size);
  };
  const auto begin = [&](const auto& looking) {
    plan.image_bytes = image_bytes_;
    plan.image_address = image_address_;
    if (mutated(Mutation::map_past_end) && image_address_ != nullptr) plan.image_bytes = pages_ * page_size;
    if (!all_in_image) plan_read(seen_by(state).version.number, offset, buffer, plan);
    plan.read = gate_.begin_read(looking);
  };
  bool settled = false;
  {
    const ReadGate::Look look{gate_};
    check();
    if (buffer.empty()) return;
    if (!unfinished_) {
      all_in_image = !index_.touches(first, last);  // the common case, without lists
      if (mutated(Mutation::map_past_log) && image_address_ != nullptr) all_in_image = true;
      settled = all_in_image || index_.is_settled(first, last);
    }
    if (settled) begin(look);
  }
  if (!settled) {
    After after{*this};
    const Lock lock{mutex_};
    finish_entering(after);
    const ReadGate::Change change{gate_};
    check();
    index_.settle(first, last);
    begin(change);
  }
  const OnExit exit{[&] { end_read(plan.read); }};
  if (plan.wants_checkpoint) {
    const Lock lock{mutex_};
    reads_want_checkpoint_ = true;
    consider_checkpoint();
  }
  run_read_planned();
  if (all_in_image)
    read_image(plan, offset, buffer);
  else
    run_read(plan, buffer);
}

void Engine::read_below(const SessionState& state, std::uint64_t offset, std::span<std::byte> buffer) {
  const std::uint64_t published = view(state).pages * page_size;
  const std::uint64_t below = offset < published ? std::min<std::uint64_t>(published - offset, buffer.size()) : 0;
  if (below != 0) read(state, offset, buffer.first(below));
  std::memset(buffer.data() + below, 0, buffer.size() - below);
}

void Engine::plan_read(std::uint64_t version, std::uint64_t offset, std::span<std::byte> buffer, ReadPlan& plan) {
  // The image's bytes on both sides of so small a gap are read by one call; what belongs into the gap comes over it.
  constexpr std::uint64_t gap_bytes_max = 4096;
  // From so many pieces on a read takes longer to put together than the image's bytes to read.
  constexpr std::size_t crowded_pieces_min = 64;
  // What is read from a file of the log takes some microseconds more than from the image, and to copy a piece there
  // some tens: when reads have lost about as much as a checkpoint takes, it is time for one.
  constexpr std::uint64_t log_reads_per_piece = 8;
  std::vector<ReadPart> from_log;
  const std::uint64_t end = offset + buffer.size();
  std::uint64_t at = offset;  // everything below is planned
  const auto from_image = [&](std::uint64_t until) {
    if (at >= until) return;
    ReadPart* const last = plan.parts.empty() ? nullptr : &plan.parts.back();
    if (last != nullptr && at - (last->position + last->length) <= gap_bytes_max)
      last->length = until - last->position;
    else
      plan.parts.push_back({at - offset, until - at, at, nullptr});
    at = until;
  };
  std::size_t pieces = 0;
  std::uint64_t next = 0;
  for (std::uint64_t page = index_.next_page(offset / page_size); page != no_position && page * page_size < end;
       page = index_.next_page(next)) {
    next = index_.alike_until(page);
    const std::uint64_t page_offset = page * page_size;
    const auto begin = static_cast<std::uint32_t>(std::max(offset, page_offset) - page_offset);
    const auto until = static_cast<std::uint32_t>(std::min(end - page_offset, page_size));
    index_.visit(page, version, begin, until, [&](const Piece& piece, std::uint32_t from, std::uint32_t to) {
      ++pieces;
      from_image(page_offset + from);
      at = page_offset + to;
      if (next - page > 1) at = std::min(end, next * page_size);  // zeros, as far as the pages go
      const std::span<std::byte> into = buffer.subspan(page_offset + from - offset, at - page_offset - from);
      const std::uint64_t skipped = from - piece.begin;
      if (piece.zero()) {
        if (into.size() > gap_bytes_max || at == end)
          std::memset(into.data(), 0, into.size());
        else
          plan.overlays.push_back(
              {page_offset + from - offset, static_cast<std::uint32_t>(into.size()), no_overlay_bytes});
      } else if (piece.memory) {
        const std::byte* const bytes = piece.memory.get() + piece.memory_offset + skipped;
        if (at == end) {
          std::memcpy(into.data(), bytes, into.size());
        } else {
          plan.overlays.push_back({page_offset + from - offset, static_cast<std::uint32_t>(into.size()),
                                   static_cast<std::uint32_t>(plan.overlay_bytes.size())});
          plan.overlay_bytes.insert(plan.overlay_bytes.end(), bytes, bytes + into.size());
        }
      } else {
        const LogSegmentRef& segment = segment_at(segments_, piece.position + skipped);
        if (plan.segments.empty() || plan.segments.back() != segment) plan.segments.push_back(segment);
        from_log.push_back({page_offset + from - offset, into.size(), piece.position + skipped, segment.get()});
      }
    });
  }
  plan.wants_checkpoint = pieces >= crowded_pieces_min;
  if (!from_log.empty() && ++log_reads_ > log_reads_per_piece * index_.piece_count()) {
    log_reads_ = 0;
    plan.wants_checkpoint = true;
  }
  from_image(end);
  plan.parts.insert(plan.parts.end(), from_log.begin(), from_log.end());
}

void Engine::run_read(const ReadPlan& plan, std::span<std::byte> buffer) const {
  for (const ReadPart& part : plan.parts) {
    const std::span<std::byte> into = buffer.subspan(part.offset, part.length);
    if (part.segment != nullptr)
      part.segment->file.read(part.segment->offset_of(part.position), into);
    else
      read_image(plan, part.position, into);
  }
  for (const ReadOverlay& overlay : plan.overlays) {
    if (overlay.bytes_at == no_overlay_bytes)
      std::memset(buffer.data() + overlay.offset, 0, overlay.length);
    else
      std::memcpy(buffer.data() + overlay.offset, plan.overlay_bytes.data() + overlay.bytes_at, overlay.length);
  }
}

void Engine::read_image(const ReadPlan& plan, std::uint64_t offset, std::span<std::byte> buffer) const {
  // Pages that were grown and not yet checkpointed lie past the file's end.
  const std::uint64_t there =
      offset < plan.image_bytes ? std::min<std::uint64_t>(plan.image_bytes - offset, buffer.size()) : 0;
  if (there != 0 && !(plan.image_address != nullptr && read_mapped(plan.image_address + offset, buffer.first(there))))
    image_->file().read(offset, buffer.first(there));
  std::memset(buffer.data() + there, 0, buffer.size() - there);
}

std::vector<ByteRange> Engine::image_data(std::uint64_t offset, std::uint64_t end, std::uint64_t image_bytes,
                                          std::size_t ranges_max, std::uint64_t& described_until) const {
  std::vector<ByteRange> ranges;
  described_until = end;
  end = std::min(end, image_bytes);
  const int file = image_->file().descriptor();
  while (offset < end) {
    const IoResult data = retried([&] { return file_system_.seek_data(file, offset); });
    if (data.error == ENXIO) break;
    if (is_unsupported(data.error)) return {{offset, end - offset}};
    if (!data.ok()) image_->file().fail("find data in", data.error);
    const auto begin = std::max(static_cast<std::uint64_t>(data.value), offset);
    if (begin >= end) break;
    if (ranges.size() == ranges_max) {
      described_until = begin;
      break;
    }
    const IoResult hole = retried([&] { return file_system_.seek_hole(file, begin); });
    if (!hole.ok()) image_->file().fail("find a hole in", hole.error);
    const auto stop = std::min(static_cast<std::uint64_t>(hole.value), end);
    ranges.push_back({begin, stop - begin});
    offset = stop;
  }
  return ranges;
}

std::vector<ByteRange> Engine::data_ranges(const SessionState& state, std::uint64_t offset, std::uint64_t length,
                                           std::size_t ranges_max, std::uint64_t& described_until) {
  constexpr std::size_t pieces_max = 65536;
  struct Logged {
    std::uint64_t begin, end;
    bool zero;
  };
  std::vector<Logged> logged;
  std::uint64_t end = offset + length;
  std::uint64_t image_bytes = 0;
  ReadGate::Read read;
  {
    After after{*this};
    const Lock lock{mutex_};
    finish_entering(after);
    const ReadGate::Change change{gate_};
    check_readable_locked(state);
    const SessionView seen = seen_by(state);
    check_bounds("data_ranges", offset, length, seen.pages * page_size);
    const std::uint64_t version = seen.version.number;
    std::vector<Piece> pieces;
    std::uint64_t next = 0;
    for (std::uint64_t page = index_.next_page(offset / page_size); page != no_position && page * page_size < end;
         page = index_.next_page(next)) {
      next = index_.alike_until(page);
      if (logged.size() > pieces_max) {
        end = std::max(offset, page * page_size);
        break;
      }
      pieces.clear();
      index_.pieces_at(page, version, 0, static_cast<std::uint32_t>(page_size), pieces);
      for (const Piece& piece : pieces) {
        const std::uint64_t begin = std::max(offset, page * page_size + piece.begin);
        const std::uint64_t stop = std::min(end, (next - 1) * page_size + piece.end);
        if (begin < stop) logged.push_back({begin, stop, piece.zero()});
      }
    }
    image_bytes = image_bytes_;
    read = gate_.begin_read(change);
  }
  std::vector<ByteRange> image;
  {
    const OnExit exit{[&] { end_read(read); }};
    run_read_planned();
    image = image_data(offset, end, image_bytes, ranges_max, described_until);
  }
  end = std::min(end, described_until);

  // The image's ranges where the log says nothing, and the log's own data.
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
