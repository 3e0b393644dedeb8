// Where in the log the bytes of a version are: what readers ask first, and what checkpoints copy from.
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
// Beside `live` a page may have `recent`: pieces that were only noted, to be merged when somebody asks (settle()).
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
/// Old pieces are kept while something may read a version that needs them. Pages that are nothing but zeros, and that
/// were made so together, are one entry however many they are.
///
/// Small pieces of a page that has many are only noted when they come, and put in order when somebody asks for the page
/// or when there are enough of them: to find its place among hundreds costs a piece more than all else of a write.
/// Not thread-safe.
class LogIndex {
public:
  /// True when somebody may read a version v with `from <= v < until`.
  using Held = std::function<bool(std::uint64_t from, std::uint64_t until)>;

  /// Nobody reads old versions.
  LogIndex() = default;
  explicit LogIndex(Held held) : held_{std::move(held)} {}

  /// Version `version`, newer than all before, changed `[offset, offset + length)`; the bytes are at `position` in the
  /// log, or are zeros. When memory runs out on the way it throws: a part has been added then, what held() spoke of is
  /// kept, and the same call made again does the rest.
  void add(std::uint64_t offset, std::uint64_t length, std::uint64_t version, std::uint64_t position,
           const std::shared_ptr<const std::byte[]>& memory);

  /// Fetches into the processor's cache what an add() at `offset` that comes soon will look at, and, a little later,
  /// what it will write to. Else adding to one of thousands of pages is mostly waiting for memory.
  void prefetch(std::uint64_t offset) const noexcept;
  void prefetch_more(std::uint64_t offset) const noexcept;

  /// Puts what was noted for the pages `[first, last]` in order.
  void settle(std::uint64_t first, std::uint64_t last);
  bool is_settled(std::uint64_t first, std::uint64_t last) const;

  /// Calls `see(piece, from, to)` for each piece of `page` that version `version` consists of within `[begin, end)`, in
  /// rising order: of it, `[from, to)` lies there. The piece is valid until `see` returns. The page must be settled.
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

  /// The same as pieces of their own, cut to `[begin, end)`; settles the page first.
  void pieces_at(std::uint64_t page, std::uint64_t version, std::uint32_t begin, std::uint32_t end,
                 std::vector<Piece>& pieces);

  /// The first page at or after `page` that has pieces; no_position when there is none.
  std::uint64_t next_page(std::uint64_t page) const;

  /// How far from `page` on pages have no more than about `pieces_max` pieces together: at least the next entry, at
  /// most up to `end`.
  std::uint64_t reach(std::uint64_t page, std::uint64_t end, std::size_t pieces_max) const;

  /// Whether any of the pages `[first, last]` has pieces.
  bool touches(std::uint64_t first, std::uint64_t last) const { return next_page(first) <= last; }

  /// For a page that has pieces: pages `[page, alike_until(page))` have the same ones. Where that is more than one
  /// page, they are whole pages of zeros.
  std::uint64_t alike_until(std::uint64_t page) const;

  /// Drops the pieces of versions up to `version` from up to `entries_max` entries at or after `page`: the image has
  /// them. Returns the page to go on with, or no_position.
  std::uint64_t drop_until(std::uint64_t version, std::uint64_t page, std::size_t entries_max);

  /// What changed after the version `since` up to the version `until`; false when it can't be said in `ranges_max`
  /// ranges. Both are held, or the newest. Settles all pages.
  bool changed_since(std::uint64_t since, std::uint64_t until, std::size_t ranges_max, std::vector<ByteRange>& ranges);

  bool empty() const noexcept { return spans_.empty(); }
  std::size_t piece_count() const noexcept { return piece_count_; }
  /// About what all of this takes, without the pieces' own `memory`.
  std::uint64_t memory_bytes() const noexcept {
    return piece_count_ * piece_memory_bytes + spans_.size() * span_memory_bytes;
  }

  /// All that memory_bytes() ever grew by, whatever it shrank by between.
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
    std::vector<Piece> recent;  // newer than `live`, not yet put there, in the order in which they came; of one page
    std::size_t look_at = 16;   // look again for old pieces that nobody needs when there are so many
  };
  using Spans = std::map<std::uint64_t, Span>;  // by first page

  /// Where a page of its own was last found: a tree of thousands is a dozen cache misses deep, and this is one.
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
  /// Before an entry goes or ceases to be a single page.
  void forget_shortcuts() noexcept { shortcuts_.clear(); }
  void split_at(std::uint64_t page);
  /// The entry of this page alone, made when there is none.
  Span& single(std::uint64_t page);
  Span& find_single(std::uint64_t page);
  void add_to_page(Span& span, Piece piece);
  /// All of this either happens or throws and changes nothing; `piece` is moved from when it happened.
  void insert(Span& span, Piece& piece);
  /// Puts what is recent into `live`. What is still recent when it throws is not in `live`.
  void settle(Span& span);
  void insert_recent(Span& span);
  void merge_recent(Span& span);
  /// The entry of `page`; null when there is none.
  const Span* find(std::uint64_t page) const;
  /// Counts what the index grew by while it lives.
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
  /// Makes pieces of a page old, all of them or, where it goes without commit(), none.
  class Retiring {
  public:
    Retiring(LogIndex& index, Span& span) : index_{index}, span_{span}, before_{span.old.size()} {}
    Retiring(const Retiring&) = delete;
    Retiring& operator=(const Retiring&) = delete;
    ~Retiring();
    /// What `by` covers of `piece` becomes old, if somebody may need it.
    void retire(const Piece& piece, const Piece& by);
    void commit() noexcept;

  private:
    LogIndex& index_;
    Span& span_;
    std::size_t before_;  ///< so many are to stay in any case
  };

  Held held_;
  Spans spans_;
  std::vector<Shortcut> shortcuts_;  // empty, or shortcut_count of them, by page modulo that
  std::size_t piece_count_ = 0;
  std::uint64_t grown_bytes_ = 0;
};

}  // namespace pageserver::storage
