// What happened over time and where in the image: latencies by slots of time, requests by tiles of pages. Both keep
// their size, however long the run and however large the image.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "client/pagectl/terminal/histogram.hpp"

namespace pageserver::pagectl {

/// Slots of equal length, which doubles when they run out.
class Timeline {
public:
  static constexpr std::size_t slots_max = 96;

  /// `at`: since the start.
  void add(std::chrono::nanoseconds at, std::chrono::nanoseconds latency);
  /// {"slot_ms", "slots": [{"requests", "median_us", "p99_us", "max_us"}]}
  nlohmann::ordered_json json() const;

private:
  std::uint64_t slot_ns_ = 1'000'000;
  std::vector<Histogram> slots_;
};

/// How often each tile of an image was read and written. Tiles are of equal size, and as few as hold all pages.
class PageTiles {
public:
  static constexpr std::uint64_t tiles_max = 256;

  explicit PageTiles(std::uint64_t pages)
      : pages_(pages), pages_per_tile_(std::max<std::uint64_t>(1, pages / tiles_max + (pages % tiles_max != 0))) {}

  /// Counts once in each tile that it touches. What lies outside of the image counts nowhere.
  void add(std::uint64_t offset, std::uint64_t length, bool is_write);
  /// {"pages", "pages_per_tile", "reads": [], "writes": []}
  nlohmann::ordered_json json() const;

private:
  std::uint64_t pages_;
  std::uint64_t pages_per_tile_;
  std::array<std::array<std::uint64_t, tiles_max>, 2> counts_{};
};

struct Activity {
  explicit Activity(std::uint64_t image_pages) : pages(image_pages) {}

  Timeline timeline;
  PageTiles pages;
};

}  // namespace pageserver::pagectl
