#include "base/poll_budget.hpp"

#include <algorithm>

namespace pageserver::base {

std::chrono::nanoseconds poll_bound(std::optional<std::uint32_t> poll_us, unsigned processors) {
  if (poll_us) return std::chrono::microseconds{std::min(*poll_us, poll_us_max)};
  return std::chrono::microseconds{processors > 1 ? poll_us_auto : 0};
}

void PollBudget::record(Duration waited) {
  // Cut off, so that one sync of a disk among many short waits does not look like a daemon that became slow.
  const auto sample = std::min(waited, 2 * bound_);
  estimate_ += (sample - estimate_) / 8;
}

}  // namespace pageserver::base
