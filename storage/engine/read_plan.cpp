#include "storage/engine/read_plan.hpp"

#include <algorithm>
#include <cstring>

#include "storage/file/mapped_file.hpp"
#include "storage/file/mutation.hpp"

namespace pageserver::storage {
namespace {

/// A gap of at most this size between two parts of the image is read with them, by one call, and overlaid afterwards.
constexpr std::uint64_t log_gap_bytes_max = 4096;
/// From this many pieces on, putting a read together takes longer than reading the image's bytes.
constexpr std::size_t crowded_pieces_min = 64;

}  // namespace

void ReadPlan::look_at_image(const Published& published) noexcept {
  image_bytes_ = published.image_bytes;
  image_address_ = published.image_address;
  if (mutated(Mutation::map_past_end) && image_address_ != nullptr) image_bytes_ = published.pages * page_size;
}

void ReadPlan::add_image(std::uint64_t offset, std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  Part* const last = parts_.empty() ? nullptr : &parts_.back();
  if (last != nullptr && begin - (last->position + last->length) <= log_gap_bytes_max)
    last->length = end - last->position;
  else
    parts_.push_back({begin - offset, end - begin, begin, nullptr});
}

void ReadPlan::add_zeros(std::uint64_t offset, std::span<std::byte> into, bool last) {
  if (into.size() > log_gap_bytes_max || last)
    std::memset(into.data(), 0, into.size());
  else
    overlays_.push_back({offset, static_cast<std::uint32_t>(into.size()), no_overlay_bytes});
}

void ReadPlan::add_memory(std::uint64_t offset, std::span<const std::byte> bytes, std::span<std::byte> into,
                          bool last) {
  if (last) {
    std::memcpy(into.data(), bytes.data(), bytes.size());
    return;
  }
  overlays_.push_back(
      {offset, static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint32_t>(overlay_bytes_.size())});
  overlay_bytes_.insert(overlay_bytes_.end(), bytes.begin(), bytes.end());
}

void ReadPlan::add(const Published& published, std::uint64_t version, std::uint64_t offset,
                   std::span<std::byte> buffer) {
  const LogIndex& index = published.index;
  std::vector<Part> from_log;
  const std::uint64_t end = offset + buffer.size();
  std::uint64_t at = offset;  // all bytes before it are planned
  std::size_t pieces = 0;
  std::uint64_t next = 0;
  for (std::uint64_t page = index.next_page(offset / page_size); page != no_position && page * page_size < end;
       page = index.next_page(next)) {
    next = index.alike_until(page);
    const std::uint64_t page_offset = page * page_size;
    const auto begin = static_cast<std::uint32_t>(std::max(offset, page_offset) - page_offset);
    const auto until = static_cast<std::uint32_t>(std::min(end - page_offset, page_size));
    index.visit(page, version, begin, until, [&](const Piece& piece, std::uint32_t from, std::uint32_t to) {
      ++pieces;
      add_image(offset, at, page_offset + from);
      at = page_offset + to;
      if (next - page > 1) at = std::min(end, next * page_size);  // zeros, as far as the pages go
      const std::uint64_t into_at = page_offset + from - offset;
      const std::span<std::byte> into = buffer.subspan(into_at, at - page_offset - from);
      const std::uint64_t skipped = from - piece.begin;
      if (piece.zero()) {
        add_zeros(into_at, into, at == end);
      } else if (piece.memory) {
        add_memory(into_at, {piece.memory.get() + piece.memory_offset + skipped, into.size()}, into, at == end);
      } else {
        const LogSegmentRef& segment = segment_at(published.segments, piece.position + skipped);
        if (segments_.empty() || segments_.back() != segment) segments_.push_back(segment);
        from_log.push_back({into_at, into.size(), piece.position + skipped, segment.get()});
      }
    });
  }
  crowded_ = pieces >= crowded_pieces_min;
  add_image(offset, at, end);
  parts_.insert(parts_.end(), from_log.begin(), from_log.end());
}

void ReadPlan::run(const File& image, std::span<std::byte> buffer, const File::Deadline& deadline) const {
  for (const Part& part : parts_) {
    const std::span<std::byte> into = buffer.subspan(part.offset, part.length);
    if (part.segment != nullptr)
      part.segment->read(part.position, into, deadline);
    else
      read_image(image, part.position, into, deadline);
  }
  for (const Overlay& overlay : overlays_) {
    if (overlay.bytes_at == no_overlay_bytes)
      std::memset(buffer.data() + overlay.offset, 0, overlay.length);
    else
      std::memcpy(buffer.data() + overlay.offset, overlay_bytes_.data() + overlay.bytes_at, overlay.length);
  }
}

void ReadPlan::read_image(const File& image, std::uint64_t offset, std::span<std::byte> buffer,
                          const File::Deadline& deadline) const {
  // Pages that were grown and not yet checkpointed lie past the file's end.
  const std::uint64_t there = offset < image_bytes_ ? std::min<std::uint64_t>(image_bytes_ - offset, buffer.size()) : 0;
  if (there != 0 && !(image_address_ != nullptr && read_mapped(image_address_ + offset, buffer.first(there))))
    image.read(offset, buffer.first(there), deadline);
  std::memset(buffer.data() + there, 0, buffer.size() - there);
}

}  // namespace pageserver::storage
