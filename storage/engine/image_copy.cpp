#include "storage/engine/image_copy.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/file/mutation.hpp"

namespace pageserver::storage {

bool all_zero(const PageCopy& copy) noexcept {
  std::uint32_t end = 0;
  for (const Piece& piece : copy.pieces) {
    if (!piece.zero() || piece.begin != end) return false;
    end = piece.end;
  }
  return end == page_size;
}

namespace {

// Pieces with at most this gap between them are written by one call: they touch the same or the next block anyway.
constexpr std::uint32_t image_gap_bytes_max = 4096;

void put_pieces(std::span<const Piece> pieces, std::span<const LogSegmentRef> segments, std::span<std::byte> page) {
  for (const Piece& piece : pieces) {
    const std::span<std::byte> into = page.subspan(piece.begin, piece.end - piece.begin);
    if (piece.zero()) {
      std::memset(into.data(), 0, into.size());
    } else if (piece.memory) {
      std::memcpy(into.data(), piece.memory.get() + piece.memory_offset, into.size());
    } else {
      segment_at(segments, piece.position)->read(piece.position, into);
    }
  }
}

/// False when the image can't be read there: the caller then writes the pieces alone.
bool read_gaps(const File& image, std::uint64_t offset, std::span<std::byte> into) {
  try {
    image.read(offset, into);
    return true;
  } catch (const MemoryError&) {
    return false;
  }
}

/// How many pieces from the first on have at most that gap to the one before, and whether to write them together pays.
std::pair<std::size_t, bool> near_pieces(std::span<const Piece> pieces) {
  std::size_t count = 1;
  std::size_t gaps = 0;
  for (; count < pieces.size() && pieces[count].begin - pieces[count - 1].end <= image_gap_bytes_max; ++count)
    if (pieces[count].begin != pieces[count - 1].end) ++gaps;
  return {count, gaps > 1};
}

}  // namespace

PagesCopied copy_pages(const PageCopy& copy, std::span<const LogSegmentRef> segments, const File& image,
                       base::IoBytes& scratch) {
  const std::uint64_t page_offset = copy.page * page_size;
  if (copy.may_punch && all_zero(copy) && image.punch_hole(page_offset, copy.pages * page_size))
    return {copy.pages, true};
  scratch.resize(page_size);
  const auto bytes_of = [&](std::uint32_t begin, std::uint32_t end) {
    return std::span{scratch}.subspan(begin, end - begin);
  };
  for (std::span<const Piece> rest{copy.pieces}; !rest.empty();) {
    const auto [count, has_gaps] = near_pieces(rest);
    const std::span<const Piece> run = rest.first(count);
    rest = rest.subspan(count);
    const std::uint32_t begin = run.front().begin;
    const std::uint32_t end = run.back().end;
    const bool whole = has_gaps && read_gaps(image, page_offset + begin, bytes_of(begin, end));
    put_pieces(run, segments, scratch);
    if (whole) {
      image.write(page_offset + begin, bytes_of(begin, end));
      continue;
    }
    for (std::size_t i = 0; i < run.size();) {
      const std::uint32_t from = run[i].begin;
      std::uint32_t until = run[i].end;
      for (++i; i < run.size() && run[i].begin == until; ++i) until = run[i].end;
      image.write(page_offset + from, bytes_of(from, until));
    }
  }
  return {1, false};
}

void remove_segments(const Folder& folder, std::span<const LogSegmentRef> segments) {
  if (segments.size() > 1) mark_segment(*segments.back());
  for (const LogSegmentRef& segment : segments) {
    folder.remove(file_name(segment->file.path()));
    if (!mutated(Mutation::drop_removal_sync)) folder.sync();
  }
}

}  // namespace pageserver::storage
