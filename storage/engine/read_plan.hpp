// Where the bytes of a read come from: decided while nothing changes, carried out afterwards without a lock.
//
//   asked for    [....................................................]
//   pieces             [ log ]        [memory]  [zeros]
//   parts        [image][ log ][image.......................][image...]     one call each
//   overlays                          [memory]  [zeros]                     over what the parts read
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "storage/engine/published.hpp"
#include "storage/file/file_io.hpp"

namespace pageserver::storage {

class ReadPlan {
public:
  /// The image as it is now.
  void look_at_image(const Published& published) noexcept;
  /// Where version `version` has what `buffer` is to hold, from `offset` on; zeros and bytes in memory that nothing
  /// else is read over are put there at once. Those pages are settled in the index.
  void add(const Published& published, std::uint64_t version, std::uint64_t offset, std::span<std::byte> buffer);

  /// Of so many pieces that the image's bytes alone would take less time.
  bool crowded() const noexcept { return crowded_; }
  bool reads_log() const noexcept { return !segments_.empty(); }

  /// Throws MemoryError when a file can't be read.
  void run(const File& image, std::span<std::byte> buffer) const;
  /// Without add(), where nothing is in the log.
  void read_image(const File& image, std::uint64_t offset, std::span<std::byte> buffer) const;

private:
  struct Part {
    std::uint64_t offset;  // in the caller's buffer
    std::uint64_t length;
    std::uint64_t position;     // in the log, or in the image
    const LogSegment* segment;  // null: the image
  };
  /// Few bytes that go over what the parts read.
  struct Overlay {
    std::uint64_t offset;  // in the caller's buffer
    std::uint32_t length;
    std::uint32_t bytes_at;  // in `overlay_bytes_`; no_overlay_bytes: zeros
  };
  static constexpr std::uint32_t no_overlay_bytes = ~0u;

  void add_image(std::uint64_t offset, std::uint64_t begin, std::uint64_t end);
  /// `last`: nothing is read over it.
  void add_memory(std::uint64_t offset, std::span<const std::byte> bytes, std::span<std::byte> into, bool last);
  void add_zeros(std::uint64_t offset, std::span<std::byte> into, bool last);

  std::vector<Part> parts_;  // in this order: later ones may lie over those of the image
  std::vector<Overlay> overlays_;
  std::vector<std::byte> overlay_bytes_;
  std::vector<LogSegmentRef> segments_;  // keeps what `parts_` points to
  std::uint64_t image_bytes_ = 0;
  const std::byte* image_address_ = nullptr;
  bool crowded_ = false;
};

/// Says when reads of the log's files have lost about as much time as a checkpoint takes. From any thread.
class LogReads {
public:
  /// One more, of a log of so many pieces. True when it is time, and then it begins anew.
  bool count(std::size_t pieces) noexcept {
    // What is read from a file of the log takes some microseconds more than from the image, and to copy a piece there
    // some tens.
    constexpr std::uint64_t log_reads_per_piece = 8;
    if (++reads_ <= log_reads_per_piece * pieces) return false;
    reads_ = 0;
    return true;
  }

private:
  std::atomic<std::uint64_t> reads_{0};
};

}  // namespace pageserver::storage
