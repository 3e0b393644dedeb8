#include "client/pagectl/work/activity.hpp"

#include <nlohmann/json.hpp>

#include <pageserver/memory_provider.hpp>

namespace pageserver::pagectl {

void Timeline::add(std::chrono::nanoseconds at, std::chrono::nanoseconds latency) {
  const auto since = static_cast<std::uint64_t>(std::max<std::int64_t>(0, at.count()));
  while (since / slot_ns_ >= slots_max) {
    const std::size_t halves = (slots_.size() + 1) / 2;
    for (std::size_t i = 0; i < halves; ++i) {
      if (i > 0) slots_[i] = std::move(slots_[2 * i]);
      if (2 * i + 1 < slots_.size()) slots_[i].add(slots_[2 * i + 1]);
    }
    slots_.resize(halves);
    slot_ns_ *= 2;
  }
  const auto slot = static_cast<std::size_t>(since / slot_ns_);
  if (slots_.size() <= slot) slots_.resize(slot + 1);
  slots_[slot].add(static_cast<std::uint64_t>(std::max<std::int64_t>(0, latency.count())));
}

nlohmann::ordered_json Timeline::json() const {
  const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1000; };
  auto slots = nlohmann::ordered_json::array();
  for (const Histogram& slot : slots_) {
    slots.push_back({{"requests", slot.total()},
                     {"median_us", us(slot.percentile(0.5))},
                     {"p99_us", us(slot.percentile(0.99))},
                     {"max_us", us(slot.max())}});
  }
  return {{"slot_ms", slot_ns_ / 1'000'000}, {"slots", std::move(slots)}};
}

void PageTiles::add(std::uint64_t offset, std::uint64_t length, bool is_write) {
  if (length == 0 || pages_ == 0) return;
  const std::uint64_t first = offset / page_size;
  if (first >= pages_) return;
  const std::uint64_t last = std::min(pages_ - 1, first + (offset % page_size + length - 1) / page_size);
  for (std::uint64_t tile = first / pages_per_tile_; tile <= last / pages_per_tile_; ++tile)
    ++counts_[is_write ? 1 : 0][static_cast<std::size_t>(tile)];
}

nlohmann::ordered_json PageTiles::json() const {
  const std::uint64_t tiles = pages_ / pages_per_tile_ + (pages_ % pages_per_tile_ != 0);
  const auto list = [tiles](const std::array<std::uint64_t, tiles_max>& counts) {
    return nlohmann::ordered_json(
        std::vector<std::uint64_t>(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(tiles)));
  };
  return {{"pages", pages_},
          {"pages_per_tile", pages_per_tile_},
          {"reads", list(counts_[0])},
          {"writes", list(counts_[1])}};
}

}  // namespace pageserver::pagectl
