// A lane of a store that is a strand.
#pragma once

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

}  // namespace pageserver::server
