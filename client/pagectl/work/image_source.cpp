#include "client/pagectl/work/image_source.hpp"

#include <algorithm>
#include <utility>

#include "client/pagectl/work/block_reader.hpp"

namespace pageserver::pagectl {

void ImageSource::read_ranges(std::function<std::optional<ByteRange>()> ranges, const Sink& sink) {
  // Enough to keep a connection busy.
  constexpr std::size_t blocks = 8;
  BlockReader reader({&image_}, std::move(ranges), 256u << 10, blocks);
  while (const auto block = reader.next()) {
    for (std::uint32_t at = 0; at < block->length; at += layout::page_bytes)
      sink((block->offset + at) / page_size, block->bytes[0].subspan(at, layout::page_bytes));
    read_bytes_ += block->length;
    progress_.update(read_bytes_);
  }
}

void ImageSource::read_pages(const Feed& feed, const Sink& sink) {
  std::optional<std::uint64_t> ahead = feed();
  read_ranges(
      [&]() -> std::optional<ByteRange> {
        if (!ahead) return std::nullopt;
        const std::uint64_t first = *ahead;
        std::uint64_t count = 1;
        ahead = feed();
        while (ahead && *ahead == first + count) {
          ++count;
          ahead = feed();
        }
        return ByteRange{first * page_size, count * page_size};
      },
      sink);
}

void ImageSource::read_data(std::uint64_t first, std::uint64_t end, const Sink& sink) {
  DataScan scan({&image_}, first * page_size, end * page_size);
  std::uint64_t next = first;  // a page may have several ranges with data
  read_ranges(
      [&]() -> std::optional<ByteRange> {
        while (const auto range = scan.next()) {
          const std::uint64_t begin = std::max(range->offset / page_size, next);
          const std::uint64_t behind = (range->offset + range->length + page_size - 1) / page_size;
          if (begin >= behind) continue;
          next = behind;
          return ByteRange{begin * page_size, (behind - begin) * page_size};
        }
        return std::nullopt;
      },
      sink);
}

}  // namespace pageserver::pagectl
