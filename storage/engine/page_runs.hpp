// A set of pages that takes memory for each run of pages, and not for each page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include <pageserver/memory_provider.hpp>

#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// Pages `[first, end)`.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

/// The pages into which these ranges put bytes, in rising order, adjoining ones as one run. Without whole pages of
/// zeros, which become holes.
std::vector<PageRun> pages_with_data(std::span<const LogRange> ranges);
/// The same for one range of bytes that is neither empty nor zeros.
inline PageRun pages_of(const LogRange& range) noexcept {
  return {range.offset / page_size, (range.offset + range.length - 1) / page_size + 1};
}

/// Not thread-safe.
class PageRuns {
public:
  void add(PageRun run);
  void remove(PageRun run);
  /// Appends the parts of `run` that are in this set, or that are not, in rising order.
  void common(PageRun run, std::vector<PageRun>& parts) const;
  void missing(PageRun run, std::vector<PageRun>& parts) const;
  /// Whether all of `run` is in this set.
  bool has(PageRun run) const noexcept;
  std::size_t run_count() const noexcept { return ends_.size(); }

private:
  std::map<std::uint64_t, std::uint64_t> ends_;  // of runs that neither overlap nor adjoin, by first page
};

}  // namespace pageserver::storage
