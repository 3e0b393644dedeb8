// Where in the log the bytes of a version are: what readers ask first, and what checkpoints copy from.
#pragma once

#include <cstddef>
#include <cstdint>
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
/// Old pieces are kept while something holds a version that needs them, as the newest holder given to add() says.
/// Not thread-safe.
class LogIndex {
public:
  /// Version `version`, newer than all before, changed `[offset, offset + length)`; the bytes are at `position` in the
  /// log, or are zeros. Holders keep what they may still read: pieces of versions up to `newest_holder` become old
  /// instead of vanishing (0: no holder).
  void add(std::uint64_t offset, std::uint64_t length, std::uint64_t version, std::uint64_t position,
           const std::shared_ptr<const std::byte[]>& memory, std::uint64_t newest_holder);

  /// The pieces of `page` that version `version` consists of within `[begin, end)`, cut to it, in rising order.
  void pieces_at(std::uint64_t page, std::uint64_t version, std::uint32_t begin, std::uint32_t end,
                 std::vector<Piece>& pieces) const;

  /// The first page at or after `page` that has pieces; no_position when there is none.
  std::uint64_t next_page(std::uint64_t page) const;

  /// Drops the pieces of versions up to `version` from up to `pages_max` pages at or after `page`: the image has them.
  /// Returns the page to go on with, or no_position.
  std::uint64_t drop_until(std::uint64_t version, std::uint64_t page, std::size_t pages_max);

  /// What changed after `version`; false when it can't be said in `ranges_max` ranges.
  bool changed_since(std::uint64_t version, std::size_t ranges_max, std::vector<ByteRange>& ranges) const;

  bool empty() const noexcept { return pages_.empty(); }
  std::size_t piece_count() const noexcept { return piece_count_; }

private:
  struct OldPiece {
    Piece piece;
    std::uint64_t until;
  };
  struct Page {
    std::vector<Piece> live;  // in rising order, not overlapping
    std::vector<OldPiece> old;
  };

  void add_to_page(Page& page, Piece piece, std::uint64_t newest_holder);

  std::map<std::uint64_t, Page> pages_;
  std::size_t piece_count_ = 0;
};

}  // namespace pageserver::storage
