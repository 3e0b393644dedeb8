#include "storage/image_copy.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "storage/mutation.hpp"

namespace pageserver::storage {

bool all_zero(const PageCopy& copy) noexcept {
  std::uint32_t end = 0;
  for (const Piece& piece : copy.pieces) {
    if (!piece.zero() || piece.begin != end) return false;
    end = piece.end;
  }
  return end == page_size;
}

const LogSegmentRef& segment_at(std::span<const LogSegmentRef> segments, std::uint64_t position) {
  const auto after =
      std::upper_bound(segments.begin(), segments.end(), position,
                       [](std::uint64_t at, const LogSegmentRef& segment) { return at < segment->first_position; });
  assert(after != segments.begin());
  return *std::prev(after);
}

PagesCopied copy_pages(const PageCopy& copy, std::span<const LogSegmentRef> segments, const File& image,
                       std::vector<std::byte>& scratch) {
  const std::uint64_t page_offset = copy.page * page_size;
  if (copy.may_punch && all_zero(copy) && image.punch_hole(page_offset, copy.pages * page_size))
    return {copy.pages, true};
  scratch.resize(page_size);
  for (const Piece& piece : copy.pieces) {
    const std::span<std::byte> into{scratch.data() + piece.begin, piece.end - piece.begin};
    if (piece.zero()) {
      std::memset(into.data(), 0, into.size());
    } else if (piece.memory) {
      std::memcpy(into.data(), piece.memory.get() + piece.memory_offset, into.size());
    } else {
      const LogSegment& segment = *segment_at(segments, piece.position);
      segment.file.read(segment.offset_of(piece.position), into);
    }
  }
  for (std::size_t i = 0; i < copy.pieces.size();) {
    const std::uint32_t begin = copy.pieces[i].begin;
    std::uint32_t end = copy.pieces[i].end;
    for (++i; i < copy.pieces.size() && copy.pieces[i].begin == end; ++i) end = copy.pieces[i].end;
    image.write(page_offset + begin, std::span{scratch}.subspan(begin, end - begin));
  }
  return {1, false};
}

void remove_segments(FileSystem& file_system, std::span<const LogSegmentRef> segments) {
  if (segments.size() > 1) mark_segment(*segments.back());
  for (const LogSegmentRef& segment : segments) {
    remove_file(file_system, segment->file.path());
    if (!mutated(Mutation::drop_removal_sync)) sync_parent_folder(file_system, segment->file.path());
  }
}

}  // namespace pageserver::storage
