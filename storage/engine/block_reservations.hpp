// Which of the image's blocks are promised: a publish that was answered must fit into the image at the checkpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "storage/engine/page_runs.hpp"

namespace pageserver::storage {

/// The pages whose blocks the file system has reserved for the store, and those that the publish under way needs. It
/// only keeps count: its callers reserve blocks and give them back. Not thread-safe.
class BlockReservations {
public:
  /// Whether the file system can reserve at all, as far as is known.
  bool possible() const noexcept { return possible_; }
  void give_up() noexcept { possible_ = false; }

  /// A publish needs the blocks of these pages, in rising order, until end_publish(). Meanwhile a checkpoint makes no
  /// hole there, or reserves the blocks again.
  void begin_publish(std::vector<PageRun> needed) noexcept { needed_ = std::move(needed); }
  /// The same for one run, where nothing is left to be reserved: that takes no memory. False, and nothing has begun:
  /// blocks have to be reserved, or there is no memory yet to note the run.
  bool try_begin_publish(PageRun needed) noexcept;
  void end_publish() noexcept;
  /// Looks at the needed runs from the `first`-th on, at most `runs_max`, and appends the parts that are not reserved
  /// to `missing`. Returns the first run that it did not look at.
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
