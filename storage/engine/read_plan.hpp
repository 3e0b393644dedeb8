// Says where the bytes of a read come from: made while nothing changes (ReadGate), carried out without a lock.
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
  /// Takes over where the image is mapped, and its size.
  void look_at_image(const Published& published) noexcept;
  /// Plans a read of `version` from `offset` on into `buffer`. The pages must be merged in the index. Zeros, and bytes
  /// that the index has in memory, are copied to `buffer` at once where no part is read over them.
  void add(const Published& published, std::uint64_t version, std::uint64_t offset, std::span<std::byte> buffer);

  /// True when the read has so many pieces that reading the image alone would be faster: a checkpoint is worth it.
  bool crowded() const noexcept { return crowded_; }
  bool reads_log() const noexcept { return !segments_.empty(); }

  /// Carries out the plan. Throws MemoryError when a file can't be read, and timed_out as File::read().
  void run(const File& image, std::span<std::byte> buffer, const File::Deadline& deadline = {}) const;
  /// Reads from the image alone, without add(): for pages of which the log has nothing.
  void read_image(const File& image, std::uint64_t offset, std::span<std::byte> buffer,
                  const File::Deadline& deadline = {}) const;

private:
  struct Part {
    std::uint64_t offset;  // in the caller's buffer
    std::uint64_t length;
    std::uint64_t position;     // in the log, or in the image
    const LogSegment* segment;  // null: the image
  };
  /// A few bytes that are copied over what the parts read.
  struct Overlay {
    std::uint64_t offset;  // in the caller's buffer
    std::uint32_t length;
    std::uint32_t bytes_at;  // in `overlay_bytes_`; no_overlay_bytes: zeros
  };
  static constexpr std::uint32_t no_overlay_bytes = ~0u;

  void add_image(std::uint64_t offset, std::uint64_t begin, std::uint64_t end);
  /// `last`: no part is read over these bytes.
  void add_memory(std::uint64_t offset, std::span<const std::byte> bytes, std::span<std::byte> into, bool last);
  void add_zeros(std::uint64_t offset, std::span<std::byte> into, bool last);

  std::vector<Part> parts_;  // read in this order: a later one may overwrite bytes of one from the image
  std::vector<Overlay> overlays_;
  std::vector<std::byte> overlay_bytes_;
  std::vector<LogSegmentRef> segments_;  // keeps what `parts_` points to
  std::uint64_t image_bytes_ = 0;
  const std::byte* image_address_ = nullptr;
  bool crowded_ = false;
};

/// Says when reads of the log's files have cost about as much time as a checkpoint takes. From any thread.
class LogReads {
public:
  /// Counts one more read, of a log with this many pieces. True when a checkpoint is worth it; then the count starts
  /// anew.
  bool count(std::size_t pieces) noexcept {
    // A read from a file of the log takes some microseconds longer than one from the image; to copy a piece into the
    // image takes some tens.
    constexpr std::uint64_t log_reads_per_piece = 8;
    if (++reads_ <= log_reads_per_piece * pieces) return false;
    reads_ = 0;
    return true;
  }

  /// A read wants a checkpoint; take_wish() tells whoever decides about the next one, once.
  void want_checkpoint() noexcept { wants_checkpoint_ = true; }
  bool take_wish() noexcept { return wants_checkpoint_.exchange(false); }

private:
  std::atomic<std::uint64_t> reads_{0};
  std::atomic<bool> wants_checkpoint_{false};
};

}  // namespace pageserver::storage
