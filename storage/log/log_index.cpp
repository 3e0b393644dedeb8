#include "storage/log/log_index.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>

namespace pageserver::storage {
namespace {

constexpr auto page_bytes = static_cast<std::uint32_t>(page_size);

// In a page with fewer pieces, the place of a new one is found within a few cache lines: nothing is deferred.
constexpr std::size_t pieces_to_defer_from = 8;
// Larger pieces are entered at once: they are rare, and free the pieces that they cover.
constexpr std::uint32_t deferred_bytes_max = 512;
// To merge them is one pass over all pieces of the page: so the more pieces a page has, the more may be deferred.
constexpr std::size_t recent_max(std::size_t live) { return 16 + live / 4; }

template <class Spans>
auto find_in(Spans& spans, std::uint64_t page) {
  const auto after = spans.upper_bound(page);
  if (after == spans.begin()) return spans.end();
  const auto span = std::prev(after);
  return page < span->second.end ? span : spans.end();
}

}  // namespace

Piece Piece::part(std::uint32_t from, std::uint32_t to) const {
  Piece cut = *this;
  cut.begin = std::max(begin, from);
  cut.end = std::min(end, to);
  assert(cut.begin < cut.end);
  const std::uint32_t skipped = cut.begin - begin;
  if (!zero()) cut.position += skipped;
  if (memory) cut.memory_offset += skipped;
  return cut;
}

void LogIndex::split_at(std::uint64_t page) {
  const auto after = spans_.upper_bound(page);
  if (after == spans_.begin()) return;
  const auto span = std::prev(after);
  if (span->first == page || span->second.end <= page) return;
  forget_shortcuts();
  spans_.emplace_hint(after, page, span->second);
  span->second.end = page;
  piece_count_ += span->second.live.size() + span->second.old.size();
}

LogIndex::Span& LogIndex::single(std::uint64_t page) {
  // While the tree is shallow, shortcuts are not worth their memory.
  if (spans_.size() < 64) return find_single(page);
  if (Span* const known = shortcut_to(page)) return *known;
  Span& span = find_single(page);
  if (shortcuts_.empty()) shortcuts_.resize(shortcut_count);
  shortcuts_[page % shortcut_count] = {page, &span};
  return span;
}

LogIndex::Span& LogIndex::find_single(std::uint64_t page) {
  const auto after = spans_.upper_bound(page);
  const auto span = after == spans_.begin() ? spans_.end() : std::prev(after);
  if (span == spans_.end() || span->second.end <= page) {
    const auto made = spans_.try_emplace(after, page);
    made->second.end = page + 1;
    return made->second;
  }
  if (span->first == page && span->second.end == page + 1) return span->second;
  split_at(page);
  split_at(page + 1);
  return spans_.find(page)->second;
}

void LogIndex::add(std::uint64_t offset, std::uint64_t length, std::uint64_t version, std::uint64_t position,
                   const std::shared_ptr<const std::byte[]>& memory) {
  const GrowthNote note{*this};
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t page = (offset + done) / page_size;
    const std::uint64_t begin = (offset + done) % page_size;
    if (position == no_position && begin == 0 && length - done >= page_size) {
      const std::uint64_t pages = (length - done) / page_size;
      add_zero_pages(page, page + pages, version);
      done += pages * page_size;
      continue;
    }
    const std::uint64_t bytes = std::min(page_size - begin, length - done);
    Piece piece;
    piece.begin = static_cast<std::uint32_t>(begin);
    piece.end = static_cast<std::uint32_t>(begin + bytes);
    piece.version = version;
    piece.position = position == no_position ? no_position : position + done;
    piece.memory = memory;
    piece.memory_offset = static_cast<std::uint32_t>(done);
    add_to_page(single(page), std::move(piece));
    done += bytes;
  }
}

void LogIndex::prefetch(std::uint64_t offset) const noexcept {
  const Span* const span = shortcut_to(offset / page_size);
  if (span == nullptr) return;
  __builtin_prefetch(&span->live);
  __builtin_prefetch(&span->look_at);
}

void LogIndex::prefetch_more(std::uint64_t offset) const noexcept {
  const Span* const span = shortcut_to(offset / page_size);
  if (span != nullptr) __builtin_prefetch(span->recent.data() + span->recent.size(), 1);
}

void LogIndex::Retiring::retire(const Piece& piece, const Piece& by) {
  if (!index_.held_ || !index_.held_(piece.version, by.version)) return;
  span_.old.push_back({piece.part(by.begin, by.end), by.version});
  ++index_.piece_count_;
}

void LogIndex::Retiring::commit() noexcept {
  before_ = span_.old.size();
  if (before_ < span_.look_at) return;
  // The sessions that needed old pieces may be gone or have moved on.
  index_.piece_count_ -=
      std::erase_if(span_.old, [&](const OldPiece& old) { return !index_.held_(old.piece.version, old.until); });
  before_ = span_.old.size();
  span_.look_at = std::max<std::size_t>(16, 2 * before_);
}

LogIndex::Retiring::~Retiring() {
  index_.piece_count_ -= span_.old.size() - before_;
  span_.old.erase(span_.old.begin() + static_cast<std::ptrdiff_t>(before_), span_.old.end());
}

namespace {

/// Makes room for `more` pieces. It alone may fail, so it comes before anything changes.
template <class Pieces>
void make_room(Pieces& pieces, std::size_t more) {
  const std::size_t wanted = pieces.size() + more;
  if (wanted > pieces.capacity()) pieces.reserve(std::max(wanted, 2 * pieces.size()));
}

}  // namespace

void LogIndex::add_to_page(Span& span, Piece piece) {
  const bool may_defer = span.live.size() >= pieces_to_defer_from && piece.end - piece.begin <= deferred_bytes_max;
  if (!may_defer) {
    merge_recent(span);
    return insert(span, piece);
  }
  span.recent.push_back(std::move(piece));
  ++piece_count_;
  if (span.recent.size() >= recent_max(span.live.size())) merge_recent(span);
}

void LogIndex::merge_recent(Span& span) {
  if (span.recent.empty()) return;
  std::sort(span.recent.begin(), span.recent.end(), [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
  const auto overlaps = [](const Piece& a, const Piece& b) { return b.begin < a.end; };
  if (span.recent.size() == 1 ||
      std::adjacent_find(span.recent.begin(), span.recent.end(), overlaps) != span.recent.end()) {
    // Pieces of one version don't overlap, so their order among each other does not matter.
    std::sort(span.recent.begin(), span.recent.end(),
              [](const Piece& a, const Piece& b) { return a.version < b.version; });
    insert_recent(span);
  } else {
    merge_disjoint(span);
  }
  span.recent.clear();
}

void LogIndex::insert_recent(Span& span) {
  auto next = span.recent.begin();
  try {
    for (; next != span.recent.end(); ++next, --piece_count_) insert(span, *next);
  } catch (...) {
    span.recent.erase(span.recent.begin(), next);
    throw;
  }
}

void LogIndex::merge_disjoint(Span& span) {
  Retiring retiring{*this, span};
  std::size_t cuts = 0;  // live pieces that are cut in two
  auto covered = span.live.cbegin();
  for (const Piece& piece : span.recent) {
    while (covered != span.live.cend() && covered->end <= piece.begin) ++covered;
    for (auto live = covered; live != span.live.cend() && live->begin < piece.end; ++live) {
      retiring.retire(*live, piece);
      if (live->begin < piece.begin && live->end > piece.end) ++cuts;
    }
  }
  std::vector<Piece> merged;
  merged.reserve(span.live.size() + span.recent.size() + std::max(cuts, span.recent.size() / 4));
  // From here on nothing fails.
  auto live = span.live.begin();
  const auto end = span.live.end();
  for (Piece& piece : span.recent) {
    for (; live != end && live->end <= piece.begin; ++live) merged.push_back(std::move(*live));
    for (; live != end && live->begin < piece.end; ++live) {
      if (live->begin < piece.begin) merged.push_back(live->part(live->begin, piece.begin));
      if (live->end > piece.end) {
        *live = live->part(piece.end, live->end);
        break;
      }
    }
    merged.push_back(std::move(piece));
  }
  merged.insert(merged.end(), std::make_move_iterator(live), std::make_move_iterator(end));
  piece_count_ += merged.size();
  piece_count_ -= span.live.size() + span.recent.size();
  span.live = std::move(merged);
  retiring.commit();
}

void LogIndex::merge_recent(std::uint64_t first, std::uint64_t last) {
  const GrowthNote note{*this};
  // Only entries of a single page have recent pieces.
  for (auto at = spans_.lower_bound(first); at != spans_.end() && at->first <= last; ++at) merge_recent(at->second);
}

bool LogIndex::is_merged(std::uint64_t first, std::uint64_t last) const {
  for (auto at = spans_.lower_bound(first); at != spans_.end() && at->first <= last; ++at)
    if (!at->second.recent.empty()) return false;
  return true;
}

const LogIndex::Span* LogIndex::find(std::uint64_t page) const {
  const auto found = find_in(spans_, page);
  return found == spans_.end() ? nullptr : &found->second;
}

void LogIndex::insert(Span& span, Piece& piece) {
  const std::size_t at = static_cast<std::size_t>(first_ending_after(span, piece.begin) - span.live.cbegin());
  if (at == span.live.size() || span.live[at].begin >= piece.end) {  // nothing there yet
    make_room(span.live, 1);
    span.live.insert(span.live.begin() + static_cast<std::ptrdiff_t>(at), std::move(piece));
    ++piece_count_;
    return;
  }
  Retiring retiring{*this, span};
  std::size_t replaced = 0;
  for (; at + replaced != span.live.size() && span.live[at + replaced].begin < piece.end; ++replaced) {
    const Piece& live = span.live[at + replaced];
    assert(live.version <= piece.version);
    retiring.retire(live, piece);
  }
  const bool cut_before = span.live[at].begin < piece.begin;
  const bool cut_after = span.live[at + replaced - 1].end > piece.end;
  const std::size_t count = 1u + cut_before + cut_after;
  if (count > replaced) make_room(span.live, count - replaced);
  // From here on nothing fails.
  const auto first = span.live.begin() + static_cast<std::ptrdiff_t>(at);
  const auto last = first + static_cast<std::ptrdiff_t>(replaced - 1);
  std::array<Piece, 3> replacement;
  if (cut_before) replacement[0] = first->part(first->begin, piece.begin);
  if (cut_after) replacement[count - 1] = last->part(piece.end, last->end);
  replacement[cut_before ? 1 : 0] = std::move(piece);

  piece_count_ += count;
  piece_count_ -= replaced;
  const auto common = static_cast<std::ptrdiff_t>(std::min(replaced, count));
  std::move(replacement.begin(), replacement.begin() + common, first);
  const auto rest = first + common;
  if (replaced > count)
    span.live.erase(rest, last + 1);
  else
    span.live.insert(rest, std::make_move_iterator(replacement.begin() + common),
                     std::make_move_iterator(replacement.begin() + static_cast<std::ptrdiff_t>(count)));
  retiring.commit();
}

void LogIndex::add_zero_pages(std::uint64_t first, std::uint64_t end, std::uint64_t version) {
  Piece zeros;
  zeros.end = page_bytes;
  zeros.version = version;
  split_at(first);
  split_at(end);
  // Entries with old pieces that somebody needs stay entries of their own; all others become one.
  std::uint64_t from = first;
  auto at = spans_.lower_bound(first);
  const auto close = [&](std::uint64_t until) {
    if (from == until) return;
    spans_.emplace_hint(at, from, Span{until, {zeros}, {}, {}});
    ++piece_count_;
  };
  while (at != spans_.end() && at->first < end) {
    Span& span = at->second;
    merge_recent(span);
    {  // `retiring` refers to the span, which may be erased below
      Retiring retiring{*this, span};
      for (const Piece& piece : span.live) retiring.retire(piece, zeros);
      make_room(span.live, 1);
      retiring.commit();
    }
    piece_count_ -= span.live.size();
    span.live.clear();
    if (span.old.empty()) {
      forget_shortcuts();
      at = spans_.erase(at);
      continue;
    }
    close(at->first);
    span.live.push_back(zeros);
    ++piece_count_;
    from = span.end;
    ++at;
  }
  close(end);
}

void LogIndex::pieces_at(std::uint64_t page, std::uint64_t version, std::uint32_t begin, std::uint32_t end,
                         std::vector<Piece>& pieces) {
  merge_recent(page, page);
  visit(page, version, begin, end,
        [&](const Piece& piece, std::uint32_t from, std::uint32_t to) { pieces.push_back(piece.part(from, to)); });
}

std::uint64_t LogIndex::next_page(std::uint64_t page) const {
  const auto after = spans_.upper_bound(page);
  if (after != spans_.begin() && page < std::prev(after)->second.end) return page;
  return after == spans_.end() ? no_position : after->first;
}

std::uint64_t LogIndex::reach(std::uint64_t page, std::uint64_t end, std::size_t pieces_max) const {
  auto at = spans_.upper_bound(page);
  if (at != spans_.begin() && page < std::prev(at)->second.end) --at;
  for (std::size_t pieces = 0; at != spans_.end() && at->first < end; ++at) {
    const std::size_t more = at->second.live.size() + at->second.recent.size() + at->second.old.size();
    if (pieces != 0 && pieces + more > pieces_max) return at->first;
    pieces += std::max<std::size_t>(1, more);
  }
  return end;
}

std::uint64_t LogIndex::alike_until(std::uint64_t page) const {
  const auto found = find_in(spans_, page);
  assert(found != spans_.end());
  return found->second.end;
}

std::uint64_t LogIndex::survey(std::uint64_t page, std::uint64_t end, std::size_t pieces_max,
                               const std::function<void(const Surveyed& seen)>& see) const {
  auto at = spans_.upper_bound(page);
  if (at != spans_.begin() && page < std::prev(at)->second.end) --at;
  for (std::size_t pieces = 0; at != spans_.end() && at->first < end; ++at) {
    if (pieces > pieces_max) return at->first;
    const Span& span = at->second;
    Surveyed seen;
    seen.first = std::max(page, at->first);
    seen.end = std::min(end, span.end);
    seen.live = !span.live.empty() || !span.recent.empty();
    seen.old = !span.old.empty();
    for (const auto* const list : {&span.live, &span.recent}) {
      for (const Piece& piece : *list) {
        seen.newest = std::max(seen.newest, piece.version);
        if (!piece.zero()) seen.data = true;
      }
    }
    seen.zeros = !seen.data && span.live.size() == 1 && span.live[0].begin == 0 && span.live[0].end == page_bytes;
    see(seen);
    pieces += 1 + span.live.size() + span.recent.size();
  }
  return end;
}

std::uint64_t LogIndex::drop_until(std::uint64_t version, std::uint64_t page, std::size_t entries_max) {
  auto at = find_in(spans_, page);
  if (at == spans_.end()) at = spans_.lower_bound(page);
  for (std::size_t count = 0; at != spans_.end(); ++count) {
    if (count == entries_max) return at->first;
    Span& span = at->second;
    piece_count_ -= std::erase_if(span.live, [&](const Piece& piece) { return piece.version <= version; });
    piece_count_ -= std::erase_if(span.old, [&](const OldPiece& old) { return old.piece.version <= version; });
    piece_count_ -= std::erase_if(span.recent, [&](const Piece& piece) { return piece.version <= version; });
    if (span.live.empty() && span.old.empty() && span.recent.empty()) {
      forget_shortcuts();
      at = spans_.erase(at);
    } else {
      ++at;
    }
  }
  return no_position;
}

bool LogIndex::changed_since(std::uint64_t since, std::uint64_t until, std::size_t ranges_max,
                             std::vector<ByteRange>& ranges) {
  merge_recent(0, no_position);
  const auto changed = [&](const Piece& piece) { return since < piece.version && piece.version <= until; };
  std::vector<std::pair<std::uint32_t, std::uint32_t>> bytes;  // of a span's first page, where it begins and ends
  for (const auto& [first, span] : spans_) {
    bytes.clear();
    for (const Piece& piece : span.live)
      if (changed(piece)) bytes.emplace_back(piece.begin, piece.end);
    // A piece of a version after `until` may cover one that changed: that is among the old pieces.
    const std::size_t live_count = bytes.size();
    for (const OldPiece& old : span.old)
      if (changed(old.piece) && old.until > until) bytes.emplace_back(old.piece.begin, old.piece.end);
    if (bytes.size() != live_count) std::sort(bytes.begin(), bytes.end());
    for (const auto& [begin, end] : bytes) {
      const std::uint64_t offset = first * page_size + begin;
      const std::uint64_t length = (span.end - first - 1) * page_size + (end - begin);
      if (!ranges.empty() && ranges.back().offset + ranges.back().length == offset) {
        ranges.back().length += length;
        continue;
      }
      if (ranges.size() == ranges_max) return false;
      ranges.push_back({offset, length});
    }
  }
  return true;
}

}  // namespace pageserver::storage
