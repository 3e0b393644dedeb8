// What a soak knows of one store during one life of its daemon: what was asked for, what was answered, and when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pageserver::test::soak {

/// An image is seen as cells of 8 bytes. Each change has a number of its own, and leaves that number in the cells that
/// it writes, together with the cell's own place: bytes at the wrong place are known as such.
inline constexpr std::uint64_t cell_bytes = 8;
inline constexpr std::uint64_t cells_per_page = 65536 / cell_bytes;
inline constexpr unsigned place_bits = 20;
inline constexpr std::uint64_t cells_max = 1ull << place_bits;  // 128 pages
/// Numbers of forks' private changes have this bit: nobody else may ever see one.
inline constexpr std::uint64_t fork_bit = 1ull << 43;

/// Of one steady clock, in nanoseconds. `never`: not answered.
using Time = std::uint64_t;
inline constexpr Time never = std::numeric_limits<Time>::max();
Time now();

/// Cells that follow one another and hold the same number; 0: zeros.
struct Run {
  std::uint64_t first = 0;
  std::uint64_t cells = 0;
  std::uint64_t number = 0;
};

/// A publish: visible as a whole or not at all.
struct Change {
  std::uint64_t number = 0;
  Time asked = 0;
  Time answered = never;
  std::uint64_t grown_pages = 0;
  std::vector<Run> runs;  // later ones over earlier ones
};

/// What one session saw of one version of the image, in one request or, of a pin, in many.
struct Read {
  Time asked = 0;
  Time answered = 0;
  std::string who;
  std::uint64_t pages = 0;  // 0: was not asked for
  std::vector<Run> runs;
};

/// A whole image: the number of each cell.
struct Image {
  std::vector<std::uint64_t> cells;

  std::uint64_t pages() const { return cells.size() / cells_per_page; }
  void apply(const Run& run);
  void apply(const Change& change);
  friend bool operator==(const Image&, const Image&) = default;
};

struct Life {
  Image before;
  std::vector<Change> changes;  // in the order of their publishes
  std::vector<Read> reads;
};

/// The bytes of `run`.
std::vector<std::byte> bytes_of(const Run& run);
/// Bytes as runs, from cell `first`. A text when they are no whole cells of their place: `fault` says which.
std::vector<Run> runs_of(std::span<const std::byte> bytes, std::uint64_t first, std::string& fault);
/// The same for a whole image.
Image image_of(std::span<const std::byte> bytes, std::string& fault);
/// `image` as runs.
std::vector<Run> runs_of(const Image& image);

/// Nothing when one memory that takes each change and each read at one moment could have answered so; else what
/// contradicts it. Changes must be in the order of their publishes. Exact: the order of the publishes is known (there
/// is one writer at a time, and what a crash or a lost lease left open was decided by who came next), so each read fits
/// some of a few states, and reads that follow one another in time must be able to follow one another among them.
std::optional<std::string> contradiction(const Life& life);

/// What may be there after a crash: what was answered, and of what was not answered a first part, in the order asked.
/// Or one of those that were answered with an error since the last success.
struct Left {
  std::size_t pending = 0;            // so many of them are there
  std::optional<std::size_t> failed;  // or this one
};
std::optional<Left> left_in(const Image& found, const Image& newest, std::span<const Change> pending,
                            std::span<const Change> failed);
/// For people: how `found` differs from `newest`.
std::string difference(const Image& found, const Image& newest);

std::string text(const Run& run);
std::string text(const Change& change);
std::string text(const Read& read);

}  // namespace pageserver::test::soak
