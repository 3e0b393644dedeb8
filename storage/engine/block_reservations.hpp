// Which of the image's blocks are promised: a publish that is answered must fit into the image at the checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "storage/engine/page_runs.hpp"

namespace pageserver::storage {

/// Pages whose blocks the file system has reserved for us, and those that the publish under way needs. Keeps the books
/// alone: who calls it reserves and gives back. Not thread-safe.
class BlockReservations {
public:
  /// Whether the file system can reserve at all, as far as is known.
  bool possible() const noexcept { return possible_; }
  void give_up() noexcept { possible_ = false; }

  /// A publish needs the blocks of these pages, in rising order, until end_publish(): a checkpoint that makes holes
  /// leaves them alone, or reserves them again.
  void begin_publish(std::vector<PageRun> needed) noexcept { needed_ = std::move(needed); }
  void end_publish() noexcept { needed_.clear(); }
  /// Of the needed runs from the `first`-th on, `runs_max` of them at most, appends what is not reserved to `missing`.
  /// Returns the first run that it did not look at.
  std::size_t missing(std::size_t first, std::size_t runs_max, std::vector<PageRun>& missing) const;

  void add(std::span<const PageRun> reserved);
  void remove(std::span<const PageRun> reserved);
  void remove(PageRun reserved) { reserved_.remove(reserved); }

  /// The first page from `page` on that the publish under way needs.
  std::uint64_t free_until(std::uint64_t page) const noexcept;
  /// The parts of `run` that are reserved, and those that the publish under way needs.
  std::vector<PageRun> promised(PageRun run) const;
  /// Whether any page from `page` on is reserved.
  bool any_from(std::uint64_t page) const;

private:
  std::vector<PageRun>::const_iterator first_ending_behind(std::uint64_t page) const noexcept;

  std::vector<PageRun> needed_;
  PageRuns reserved_;
  bool possible_ = true;
};

}  // namespace pageserver::storage
