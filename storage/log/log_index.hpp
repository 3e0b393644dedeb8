// Says where in the log the bytes of a version are. A reader asks it first; a checkpoint copies what it lists.
//
// How a version is found. Page 7, of which version 3 wrote bytes 0 to 100, version 5 bytes 20 to 60, and version 8
// bytes 40 to 80, while somebody holds version 5:
//
//   live     [0..20 of 3][20..40 of 5][40..80 of 8][80..100 of 3]     rising, nothing overlaps
//   old      [40..60 of 5, until 8]  [60..80 of 3, until 8]           what 8 covered and version 5 needs
//
//   version 8 or newer   0---3---20---5---40-------8-------80---3---100    the live pieces
//   version 5            0---3---20---5---40---5---60---3---80---3---100   the live ones of versions up to 5, and
//                                                                        the old ones with piece.version <= 5 < until
//   version 2            no piece: all of it is as the image has it
//
// What 5 covered of 3 was not kept, since nobody held version 3 or 4. When a checkpoint has brought version 5 into the
// image, drop_until(5) drops the pieces of versions up to 5, live and old: the image has those bytes.
//
// Beside `live` a page may have `recent`: newer pieces in the order in which they came. merge_recent() puts them into
// `live` before somebody looks at the page.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

namespace pageserver::storage {

inline constexpr std::uint64_t no_position = ~0ull;

/// Bytes `[begin, end)` of one page as one version left them.
struct Piece {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint64_t version = 0;
  std::uint64_t position = no_position;       ///< of the first byte in the log; no_position: zeros, not in the log
  std::shared_ptr<const std::byte[]> memory;  ///< the same bytes, where they are few enough to be kept; else null
  std::uint32_t memory_offset = 0;

  bool zero() const noexcept { return position == no_position; }
  /// The part of this piece within `[from, to)`, which must overlap it.
  Piece part(std::uint32_t from, std::uint32_t to) const;
};

/// The pieces of all pages. For each byte and version at most one piece covers it: a live one whose version is not
/// above, or an old one with `version <= v < until`. A byte without a piece is as the image has it.
///
/// An old piece is kept while somebody may read a version that needs it. Adjoining pages that one version made zeros
/// share one entry, however many they are.
///
/// A small piece of a page that has many is appended to `recent`, since finding its place among hundreds would take
/// longer than the rest of a write. `recent` is merged into `live` when somebody asks for the page, or when it is long
/// enough. Not thread-safe.
class LogIndex {
public:
  /// True when somebody may read a version v with `from <= v < until`.
  using Held = std::function<bool(std::uint64_t from, std::uint64_t until)>;

  /// An index of which nobody reads old versions.
  LogIndex() = default;
  explicit LogIndex(Held held) : held_{std::move(held)} {}

  /// Notes that `version`, newer than all before, changed `[offset, offset + length)`. The bytes are at `position` in
  /// the log, or are zeros. When memory runs out it throws: a part is added then, no version that is held has lost
  /// anything, and the same call made again adds the rest.
  void add(std::uint64_t offset, std::uint64_t length, std::uint64_t version, std::uint64_t position,
           const std::shared_ptr<const std::byte[]>& memory);

  /// For an add() at `offset` that comes soon: prefetch() fetches into the processor's cache what that will look at,
  /// and prefetch_more(), called a little later, what it will write to. Without them an add() to one of thousands of
  /// pages mostly waits for memory.
  void prefetch(std::uint64_t offset) const noexcept;
  void prefetch_more(std::uint64_t offset) const noexcept;

  /// Merges the recent pieces of the pages `[first, last]` into their live ones.
  void merge_recent(std::uint64_t first, std::uint64_t last);
  bool is_merged(std::uint64_t first, std::uint64_t last) const;

  /// Calls `see(piece, from, to)` for each piece of `page` that version `version` consists of within `[begin, end)`, in
  /// rising order: `[from, to)` of that piece lies there. The piece is valid until `see` returns. The page must be
  /// merged.
  template <class See>
  void visit(std::uint64_t page, std::uint64_t version, std::uint32_t begin, std::uint32_t end, See see) const {
    const Span* const span = find(page);
    if (span == nullptr) return;
    assert(span->recent.empty());
    const auto cut = [&](const Piece& piece) { see(piece, std::max(piece.begin, begin), std::min(piece.end, end)); };
    auto live = first_ending_after(*span, begin);
    if (span->old.empty()) {
      for (; live != span->live.end() && live->begin < end; ++live)
        if (live->version <= version) cut(*live);
      return;
    }
    std::vector<const Piece*> found;
    for (; live != span->live.end() && live->begin < end; ++live)
      if (live->version <= version) found.push_back(&*live);
    for (const OldPiece& old : span->old)
      if (old.piece.version <= version && version < old.until && old.piece.begin < end && begin < old.piece.end)
        found.push_back(&old.piece);
    std::sort(found.begin(), found.end(), [](const Piece* a, const Piece* b) { return a->begin < b->begin; });
    for (const Piece* piece : found) cut(*piece);
  }

  /// Merges the page, and appends the same pieces to `pieces`, cut to `[begin, end)`.
  void pieces_at(std::uint64_t page, std::uint64_t version, std::uint32_t begin, std::uint32_t end,
                 std::vector<Piece>& pieces);

  /// The first page at or after `page` that has pieces; no_position when there is none.
  std::uint64_t next_page(std::uint64_t page) const;

  /// The page up to which the pages from `page` on have at most about `pieces_max` pieces together. It is behind at
  /// least one entry, and at most `end`.
  std::uint64_t reach(std::uint64_t page, std::uint64_t end, std::size_t pieces_max) const;

  /// Whether any of the pages `[first, last]` has pieces.
  bool touches(std::uint64_t first, std::uint64_t last) const { return next_page(first) <= last; }

  /// For a page that has pieces: pages `[page, alike_until(page))` have the same ones. Where that is more than one
  /// page, they are whole pages of zeros.
  std::uint64_t alike_until(std::uint64_t page) const;

  /// Of pages that have the same pieces, in general.
  struct Surveyed {
    std::uint64_t first = 0;
    std::uint64_t end = 0;     ///< the page after the last
    bool live = false;         ///< some bytes are not in the image
    bool data = false;         ///< not only zeros
    bool zeros = false;        ///< the whole page is zeros
    bool old = false;          ///< some bytes of before are kept
    std::uint64_t newest = 0;  ///< version
  };
  /// Calls `see` for the pages of `[page, end)` that have pieces, in rising order, until those had more than
  /// `pieces_max`. Returns the page to go on with, or `end`. They need not be merged.
  std::uint64_t survey(std::uint64_t page, std::uint64_t end, std::size_t pieces_max,
                       const std::function<void(const Surveyed& seen)>& see) const;

  /// Drops the pieces of versions up to `version`, which the image has, from at most `entries_max` entries at or after
  /// `page`. Returns the page to go on with, or no_position.
  std::uint64_t drop_until(std::uint64_t version, std::uint64_t page, std::size_t entries_max);

  /// Appends the ranges that changed after the version `since`, up to the version `until`; false when they are more
  /// than `ranges_max`. Each of the two is held or the newest. Merges all pages.
  bool changed_since(std::uint64_t since, std::uint64_t until, std::size_t ranges_max, std::vector<ByteRange>& ranges);

  bool empty() const noexcept { return spans_.empty(); }
  std::size_t piece_count() const noexcept { return piece_count_; }
  /// About how much memory the index takes, without the pieces' own `memory`.
  std::uint64_t memory_bytes() const noexcept {
    return piece_count_ * piece_memory_bytes + spans_.size() * span_memory_bytes;
  }

  /// The sum of all growth of memory_bytes(); shrinking does not lower it.
  std::uint64_t grown_bytes() const noexcept { return grown_bytes_; }

  static constexpr std::uint64_t piece_memory_bytes = 80;  ///< with the slack of a vector that grows
  static constexpr std::uint64_t span_memory_bytes = 160;  ///< with what a tree and the allocator add

private:
  struct OldPiece {
    Piece piece;
    std::uint64_t until;
  };
  /// Adjoining pages that have the same pieces. Where there are several pages, each piece is a whole page of zeros.
  struct Span {
    std::uint64_t end = 0;    // the page after the last
    std::vector<Piece> live;  // in rising order, not overlapping
    std::vector<OldPiece> old;
    std::vector<Piece> recent;  // newer than `live`, in the order in which they came; only of a single page
    std::size_t look_at = 16;   // at this many old pieces, those that nobody needs are dropped
  };
  using Spans = std::map<std::uint64_t, Span>;  // by first page

  /// Remembers the entry of a single page. To find it in a tree of thousands costs a dozen cache misses; this costs
  /// one.
  struct Shortcut {
    std::uint64_t page = no_position;
    Span* span = nullptr;
  };
  static constexpr std::size_t shortcut_count = 4096;

  static std::vector<Piece>::const_iterator first_ending_after(const Span& span, std::uint32_t begin) {
    return std::lower_bound(span.live.begin(), span.live.end(), begin,
                            [](const Piece& piece, std::uint32_t at) { return piece.end <= at; });
  }
  Span* shortcut_to(std::uint64_t page) const noexcept {
    if (shortcuts_.empty()) return nullptr;
    const Shortcut& shortcut = shortcuts_[page % shortcut_count];
    return shortcut.page == page ? shortcut.span : nullptr;
  }
  /// To be called before an entry is removed or stops being a single page.
  void forget_shortcuts() noexcept { shortcuts_.clear(); }
  void split_at(std::uint64_t page);
  /// The entry of this page alone; makes one when there is none.
  Span& single(std::uint64_t page);
  Span& find_single(std::uint64_t page);
  void add_to_page(Span& span, Piece piece);
  /// Inserts `piece`, or throws and changes nothing. `piece` is moved from only when it was inserted.
  void insert(Span& span, Piece& piece);
  /// Puts the recent pieces into `live`. When it throws, those that are still recent are not in `live`.
  void merge_recent(Span& span);
  /// The same for recent pieces that overlap: one after the other.
  void insert_recent(Span& span);
  /// The same for recent pieces that don't: all in one pass.
  void merge_disjoint(Span& span);
  /// The entry of `page`; null when there is none.
  const Span* find(std::uint64_t page) const;
  /// Adds to grown_bytes() what the index grew by while this lives.
  class GrowthNote {
  public:
    explicit GrowthNote(LogIndex& index) : index_{index}, before_{index.memory_bytes()} {}
    GrowthNote(const GrowthNote&) = delete;
    GrowthNote& operator=(const GrowthNote&) = delete;
    ~GrowthNote() { index_.grown_bytes_ += std::max(index_.memory_bytes(), before_) - before_; }

  private:
    LogIndex& index_;
    std::uint64_t before_;
  };
  void add_zero_pages(std::uint64_t first, std::uint64_t end, std::uint64_t version);
  /// Makes pieces of a page old: all of them with commit(), none where this is destroyed without it.
  class Retiring {
  public:
    Retiring(LogIndex& index, Span& span) : index_{index}, span_{span}, before_{span.old.size()} {}
    Retiring(const Retiring&) = delete;
    Retiring& operator=(const Retiring&) = delete;
    ~Retiring();
    /// The part of `piece` that `by` covers becomes old, if somebody may need it.
    void retire(const Piece& piece, const Piece& by);
    void commit() noexcept;

  private:
    LogIndex& index_;
    Span& span_;
    std::size_t before_;  ///< old pieces that were there before, and stay
  };

  Held held_;
  Spans spans_;
  std::vector<Shortcut> shortcuts_;  // empty, or shortcut_count of them, by page modulo that
  std::size_t piece_count_ = 0;
  std::uint64_t grown_bytes_ = 0;
};

}  // namespace pageserver::storage
