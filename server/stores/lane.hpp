// The lanes of a store, which are strands.
#pragma once

#include <cstddef>
#include <utility>

#include "server/runtime/blocking_pool.hpp"
#include "storage/engine/background.hpp"

namespace pageserver::server {

/// The destructor runs what was submitted before, as Strand's.
class Lane final : public storage::Background {
public:
  explicit Lane(BlockingPool& pool, StrandGroup* group = nullptr) : strand_(pool, group) {}

  void submit_ready(Ready task) noexcept override { strand_.submit_ready(std::move(task)); }
  const Strand& strand() const noexcept { return strand_; }

private:
  Strand strand_;
};

/// Those that an engine wants. A slow checkpoint is in no sync's way.
struct StoreLanes {
  StoreLanes(BlockingPool& pool, StrandGroup* group) : sync(pool, group), checkpoint(pool, group) {}

  /// How many tasks have not begun.
  std::size_t waiting() const { return sync.strand().waiting() + checkpoint.strand().waiting(); }
  Stuck stuck() const {
    Stuck found = sync.strand().stuck();
    found.add(checkpoint.strand().stuck());
    return found;
  }

  Lane sync;
  Lane checkpoint;
};

}  // namespace pageserver::server
