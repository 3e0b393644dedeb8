// A set of pages, as few numbers as its runs are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "storage/log/log_codec.hpp"

namespace pageserver::storage {

/// Pages `[first, end)`.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

/// The pages that these ranges put bytes into, in rising order, adjoining ones together. Whole pages of zeros don't
/// count: they become holes.
std::vector<PageRun> pages_with_data(std::span<const LogRange> ranges);

/// Not thread-safe.
class PageRuns {
public:
  void add(PageRun run);
  void remove(PageRun run);
  /// Appends the parts of `run` that are in this set, or that are not, in rising order.
  void common(PageRun run, std::vector<PageRun>& parts) const;
  void missing(PageRun run, std::vector<PageRun>& parts) const;
  std::size_t run_count() const noexcept { return ends_.size(); }

private:
  std::map<std::uint64_t, std::uint64_t> ends_;  // of runs that neither overlap nor adjoin, by first page
};

}  // namespace pageserver::storage
