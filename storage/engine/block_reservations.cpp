#include "storage/engine/block_reservations.hpp"

#include <algorithm>

namespace pageserver::storage {

bool BlockReservations::try_begin_publish(PageRun needed) noexcept {
  if (!possible_) return true;
  if (needed_.capacity() == 0 || !reserved_.has(needed)) return false;
  needed_.assign(1, needed);
  return true;
}

// Keeps memory for the next publish, if it is little.
void BlockReservations::end_publish() noexcept {
  constexpr std::size_t kept_runs_max = 64;
  needed_.clear();
  if (needed_.capacity() > kept_runs_max) needed_ = std::vector<PageRun>();  // `= {}` would keep the room
}

std::size_t BlockReservations::missing(std::size_t first, std::size_t runs_max, std::vector<PageRun>& missing) const {
  const std::size_t end = first + std::min(runs_max, needed_.size() - std::min(first, needed_.size()));
  for (; first < end; ++first) reserved_.missing(needed_[first], missing);
  return first;
}

void BlockReservations::add(std::span<const PageRun> reserved) {
  for (const PageRun& run : reserved) reserved_.add(run);
}

void BlockReservations::remove(std::span<const PageRun> reserved) {
  for (const PageRun& run : reserved) reserved_.remove(run);
}

std::vector<PageRun>::const_iterator BlockReservations::first_ending_behind(std::uint64_t page) const noexcept {
  return std::lower_bound(needed_.begin(), needed_.end(), page,
                          [](const PageRun& run, std::uint64_t at) { return run.end <= at; });
}

std::uint64_t BlockReservations::free_until(std::uint64_t page) const noexcept {
  const auto needed = first_ending_behind(page);
  return needed == needed_.end() ? ~0ull : needed->first;
}

std::vector<PageRun> BlockReservations::promised(PageRun run) const {
  std::vector<PageRun> found;
  reserved_.common(run, found);
  for (auto needed = first_ending_behind(run.first); needed != needed_.end() && needed->first < run.end; ++needed)
    found.push_back({std::max(needed->first, run.first), std::min(needed->end, run.end)});
  return found;
}

bool BlockReservations::any_from(std::uint64_t page) const {
  std::vector<PageRun> found;
  reserved_.common({page, ~0ull}, found);
  return !found.empty();
}

}  // namespace pageserver::storage
