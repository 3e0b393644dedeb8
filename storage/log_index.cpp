#include "storage/log_index.hpp"

#include <algorithm>
#include <cassert>

namespace pageserver::storage {

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

void LogIndex::add(std::uint64_t offset, std::uint64_t length, std::uint64_t version, std::uint64_t position,
                   const std::shared_ptr<const std::byte[]>& memory, std::uint64_t newest_holder) {
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t begin = (offset + done) % page_size;
    const std::uint64_t bytes = std::min(page_size - begin, length - done);
    Piece piece;
    piece.begin = static_cast<std::uint32_t>(begin);
    piece.end = static_cast<std::uint32_t>(begin + bytes);
    piece.version = version;
    piece.position = position == no_position ? no_position : position + done;
    piece.memory = memory;
    piece.memory_offset = static_cast<std::uint32_t>(done);
    add_to_page(pages_[(offset + done) / page_size], std::move(piece), newest_holder);
    done += bytes;
  }
}

void LogIndex::add_to_page(Page& page, Piece piece, std::uint64_t newest_holder) {
  const auto first = std::lower_bound(page.live.begin(), page.live.end(), piece.begin,
                                      [](const Piece& live, std::uint32_t begin) { return live.end <= begin; });
  auto last = first;
  std::vector<Piece> replacement;
  replacement.reserve(3);
  std::vector<Piece> right;
  for (; last != page.live.end() && last->begin < piece.end; ++last) {
    assert(last->version < piece.version || last->version == piece.version);
    if (last->begin < piece.begin) replacement.push_back(last->part(last->begin, piece.begin));
    if (last->end > piece.end) right.push_back(last->part(piece.end, last->end));
    if (last->version <= newest_holder) {
      page.old.push_back({last->part(piece.begin, piece.end), piece.version});
      ++piece_count_;
    }
  }
  replacement.push_back(std::move(piece));
  for (Piece& rest : right) replacement.push_back(std::move(rest));

  const auto replaced = static_cast<std::size_t>(last - first);
  piece_count_ += replacement.size() - replaced;
  const std::size_t common = std::min(replaced, replacement.size());
  std::move(replacement.begin(), replacement.begin() + static_cast<std::ptrdiff_t>(common), first);
  const auto after_common = first + static_cast<std::ptrdiff_t>(common);
  if (replaced > common)
    page.live.erase(after_common, last);
  else
    page.live.insert(after_common, std::make_move_iterator(replacement.begin() + static_cast<std::ptrdiff_t>(common)),
                     std::make_move_iterator(replacement.end()));
}

void LogIndex::pieces_at(std::uint64_t page_number, std::uint64_t version, std::uint32_t begin, std::uint32_t end,
                         std::vector<Piece>& pieces) const {
  const auto found = pages_.find(page_number);
  if (found == pages_.end()) return;
  const Page& page = found->second;
  const std::size_t count_before = pieces.size();
  auto live = std::lower_bound(page.live.begin(), page.live.end(), begin,
                               [](const Piece& piece, std::uint32_t from) { return piece.end <= from; });
  for (; live != page.live.end() && live->begin < end; ++live)
    if (live->version <= version) pieces.push_back(live->part(begin, end));
  if (page.old.empty()) return;
  const std::size_t count_live = pieces.size();
  for (const OldPiece& old : page.old)
    if (old.piece.version <= version && version < old.until && old.piece.begin < end && begin < old.piece.end)
      pieces.push_back(old.piece.part(begin, end));
  if (pieces.size() != count_live)
    std::sort(pieces.begin() + static_cast<std::ptrdiff_t>(count_before), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
}

std::uint64_t LogIndex::next_page(std::uint64_t page) const {
  const auto found = pages_.lower_bound(page);
  return found == pages_.end() ? no_position : found->first;
}

std::uint64_t LogIndex::drop_until(std::uint64_t version, std::uint64_t page_number, std::size_t pages_max) {
  auto at = pages_.lower_bound(page_number);
  for (std::size_t count = 0; at != pages_.end(); ++count) {
    if (count == pages_max) return at->first;
    Page& page = at->second;
    piece_count_ -= std::erase_if(page.live, [&](const Piece& piece) { return piece.version <= version; });
    piece_count_ -= std::erase_if(page.old, [&](const OldPiece& old) { return old.piece.version <= version; });
    if (page.live.empty() && page.old.empty())
      at = pages_.erase(at);
    else
      ++at;
  }
  return no_position;
}

bool LogIndex::changed_since(std::uint64_t version, std::size_t ranges_max, std::vector<ByteRange>& ranges) const {
  for (const auto& [number, page] : pages_) {
    for (const Piece& piece : page.live) {
      if (piece.version <= version) continue;
      const std::uint64_t offset = number * page_size + piece.begin;
      const std::uint64_t length = piece.end - piece.begin;
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
