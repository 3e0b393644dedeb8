#include "storage/engine/page_runs.hpp"

#include <algorithm>
#include <iterator>

namespace pageserver::storage {

std::vector<PageRun> pages_with_data(std::span<const LogRange> ranges) {
  std::vector<PageRun> runs;
  bool rising = true;
  const auto want = [&](std::uint64_t first, std::uint64_t end) {
    if (!runs.empty() && first >= runs.back().first && first <= runs.back().end) {
      runs.back().end = std::max(runs.back().end, end);
      return;
    }
    rising = rising && (runs.empty() || runs.back().end < first);
    runs.push_back({first, end});
  };
  for (const LogRange& range : ranges) {
    if (range.length == 0) continue;
    const std::uint64_t end = range.offset + range.length;
    const std::uint64_t first = range.offset / page_size;
    const std::uint64_t last = (end - 1) / page_size;
    if (!range.zero) {
      want(first, last + 1);
      continue;
    }
    if (range.offset % page_size != 0) want(first, first + 1);
    if (end % page_size != 0 && (last != first || range.offset % page_size == 0)) want(last, last + 1);
  }
  if (rising) return runs;
  PageRuns set;
  for (const PageRun& run : runs) set.add(run);
  std::vector<PageRun> sorted;
  set.common({0, ~0ull}, sorted);
  return sorted;
}

void PageRuns::add(PageRun run) {
  if (run.first >= run.end) return;
  auto at = ends_.upper_bound(run.first);
  if (at != ends_.begin() && std::prev(at)->second >= run.first) {
    --at;
    if (at->second >= run.end) return;
    run.first = at->first;
  }
  while (at != ends_.end() && at->first <= run.end) {
    run.end = std::max(run.end, at->second);
    at = ends_.erase(at);
  }
  ends_.emplace_hint(at, run.first, run.end);
}

void PageRuns::remove(PageRun run) {
  if (run.first >= run.end) return;
  auto at = ends_.upper_bound(run.first);
  if (at != ends_.begin() && std::prev(at)->second > run.first) --at;
  while (at != ends_.end() && at->first < run.end) {
    const PageRun found{at->first, at->second};
    at = ends_.erase(at);
    if (found.first < run.first) ends_.emplace_hint(at, found.first, run.first);
    if (found.end > run.end) at = ends_.emplace_hint(at, run.end, found.end);
  }
}

void PageRuns::common(PageRun run, std::vector<PageRun>& parts) const {
  if (run.first >= run.end) return;
  auto at = ends_.upper_bound(run.first);
  if (at != ends_.begin() && std::prev(at)->second > run.first) --at;
  for (; at != ends_.end() && at->first < run.end; ++at)
    parts.push_back({std::max(at->first, run.first), std::min(at->second, run.end)});
}

bool PageRuns::has(PageRun run) const noexcept {
  const auto after = ends_.upper_bound(run.first);
  return run.first >= run.end || (after != ends_.begin() && std::prev(after)->second >= run.end);
}

void PageRuns::missing(PageRun run, std::vector<PageRun>& parts) const {
  std::uint64_t from = run.first;
  auto at = ends_.upper_bound(run.first);
  if (at != ends_.begin() && std::prev(at)->second > run.first) --at;
  for (; at != ends_.end() && at->first < run.end; ++at) {
    if (from < at->first) parts.push_back({from, at->first});
    from = at->second;
  }
  if (from < run.end) parts.push_back({from, run.end});
}

}  // namespace pageserver::storage
